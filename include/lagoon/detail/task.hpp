// task.hpp: a function of the program as something that another process can be told to run.
//
//   Shape      a node per function and root struct, linked into a list before main begins
//   Progress   registration is a push on a list; running is the caller's business
//   Errors     what cannot work does not compile, and says why in one sentence
//
// Two functions of one name (static, or in unnamed namespaces, of two files) have one mangled
// name; the distance of the node from the start of its module tells them apart.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <typeinfo>
#include <utility>

#include <lagoon/arena.hpp>
#include <lagoon/detail/codec.hpp>

namespace lagoon::inline v1::detail {

/// What a worker is told. Travels in its environment.
struct WorkerOrder {
    std::string function;      // mangled name of the Task
    std::uint64_t offset = 0;  // of its node in its module
    std::string module = {};   // path; empty: the main program
    bool same_program = true;  // the offset holds
    std::string arena = {};
    std::string directory = {};
    std::array<std::uint64_t, 2> arena_id{};
    std::int64_t owner = -1;  // of the arena's file
    MemberId parent{};
    std::int64_t grace_ns = 0;
    std::int32_t report_pid = 0;  // where the worker reports: a descriptor of its parent
    std::int32_t report_fd = -1;
    std::uint64_t report_token = 0;
    std::string arguments = {};  // encoded
};

/// Runs the function and returns the exit code.
using TaskRunner = int (*)(const WorkerOrder& order);

/// Lives in the user's program, once per function and root struct.
class TaskNode {
public:
    TaskNode(const char* mangled, TaskRunner runner) noexcept;
    ~TaskNode();  // a plugin is unloaded
    TaskNode(const TaskNode&) = delete;
    TaskNode& operator=(const TaskNode&) = delete;

    [[nodiscard]] const char* name() const noexcept { return name_; }
    [[nodiscard]] TaskRunner run() const noexcept { return run_; }
    [[nodiscard]] const TaskNode* next() const noexcept { return next_; }

private:
    const char* name_;
    TaskRunner run_;
    TaskNode* next_ = nullptr;
};

/// In a worker that has opened its arena: leaves (65) if that is another one than its parent's or
/// the parent is dead, has the keeper watch the parent, and reports.
void worker_attached(const WorkerOrder& order, Attachment& arena);

template <class... T>
struct Parameters {};

template <class F>
struct Signature {
    static constexpr bool known = false;
    using Result = void;
    using List = Parameters<>;
};
template <class R, class... P>
struct Signature<R(P...)> {
    static constexpr bool known = true;
    using Result = R;
    using List = Parameters<P...>;
};
template <class R, class... P>
struct Signature<R(P...) noexcept> : Signature<R(P...)> {};
template <class C, class R, class... P>
struct Signature<R (C::*)(P...) const> : Signature<R(P...)> {};
template <class C, class R, class... P>
struct Signature<R (C::*)(P...) const noexcept> : Signature<R(P...)> {};

template <class F>
constexpr auto signature_of() {
    if constexpr (std::is_pointer_v<F>) {
        return Signature<std::remove_pointer_t<F>>{};
    } else if constexpr (requires { &F::operator(); }) {
        return Signature<decltype(&F::operator())>{};
    } else {
        return Signature<void>{};
    }
}

/// What a first parameter is filled with.
enum class Filled { none, root, arena };

template <class Root, class First>
constexpr Filled filled() {
    using Bare = std::remove_cvref_t<First>;
    if constexpr (std::is_same_v<Bare, Arena<Root>>) {
        return Filled::arena;
    } else if constexpr (std::is_class_v<Bare> && std::is_lvalue_reference_v<First> &&
                         std::is_base_of_v<Bare, Root> && std::is_convertible_v<Root&, First>) {
        return Filled::root;
    } else {
        return Filled::none;
    }
}

/// As what an argument for parameter P travels.
template <class P>
struct Stored {
    using Type = std::decay_t<P>;
};
template <class P>
requires std::is_same_v<std::decay_t<P>, std::string_view>
struct Stored<P> {
    using Type = std::string;
};

template <class P>
constexpr void require_sendable() noexcept {
    using T = typename Stored<P>::Type;
    static_assert(
        !std::is_pointer_v<T> && !std::is_null_pointer_v<T> && !std::is_member_pointer_v<T>,
        "lagoon: a worker's function cannot take a pointer: the worker is a process of "
        "its own, where it leads nowhere. Pass the value, an index, or std::string_view");
    static_assert(!std::is_lvalue_reference_v<P> || std::is_const_v<std::remove_reference_t<P>> ||
                      std::is_pointer_v<T>,
                  "lagoon: a worker's function cannot take a non-const reference (other than to "
                  "the arena's struct or the arena): its changes would stay in the worker. Take "
                  "it by value or const&, and share results through the arena");
    if constexpr (!std::is_pointer_v<T> && !std::is_null_pointer_v<T> &&
                  !std::is_member_pointer_v<T>) {
        static_assert(Encodable<T>,
                      "lagoon: a parameter of a worker's function must be arena-safe, a standard "
                      "container of such values, or have cereal's `serialize` and a default "
                      "constructor");
    }
}

/// Parameters after the filled one, as they travel.
template <class Root, class List>
struct Sent;
template <class Root>
struct Sent<Root, Parameters<>> {
    static constexpr Filled first = Filled::none;
    using Tuple = std::tuple<>;
};
template <class Root, class First, class... Rest>
struct Sent<Root, Parameters<First, Rest...>> {
    static constexpr Filled first = filled<Root, First>();
    template <Filled, class A, class... B>
    struct Pick {
        using Tuple = std::tuple<typename Stored<B>::Type...>;
        static constexpr void require() noexcept { (require_sendable<B>(), ...); }
    };
    template <class A, class... B>
    struct Pick<Filled::none, A, B...> : Pick<Filled::root, void, A, B...> {};
    using Tuple = typename Pick<first, First, Rest...>::Tuple;
    static constexpr void require() noexcept { Pick<first, First, Rest...>::require(); }
};

/// A function bound to the root struct it works on.
template <auto Fn, class Root>
struct Task {
    using Function = std::remove_cv_t<decltype(Fn)>;
    using Form = decltype(signature_of<Function>());
    using Sending = Sent<Root, typename Form::List>;
    using Arguments = typename Sending::Tuple;
    using Result = typename Form::Result;

    /// Converts to the parameters' types and encodes.
    template <class... Args>
    static std::string encode_arguments(Args&&... args) {
        static_assert(Form::known,
                      "lagoon: a worker's function is a function, a static member function or a "
                      "captureless lambda; not a generic lambda, an overload set (cast it to the "
                      "one that is meant) or a member function");
        if constexpr (requires { Sending::require(); }) Sending::require();
        static_assert(sizeof...(Args) == std::tuple_size_v<Arguments>,
                      "lagoon: the number of arguments is not the number of the function's "
                      "parameters (a first one of the arena's struct is filled in; default "
                      "arguments do not count)");
        if constexpr (sizeof...(Args) == std::tuple_size_v<Arguments>) {
            return convert(std::type_identity<Arguments>{}, std::forward<Args>(args)...);
        } else {
            return {};
        }
    }

    /// Calls the function with encoded arguments.
    static Result call(const Arena<Root>& arena, std::string_view arguments) {
        Arguments args = decode_all(std::type_identity<Arguments>{}, arguments);
        return call(arena, std::move(args));
    }
    static Result call(const Arena<Root>& arena, Arguments&& args) {
        return std::apply(
            [&]([[maybe_unused]] auto&... each) -> Result {
                if constexpr (Sending::first == Filled::root) {
                    return Fn(*arena, std::move(each)...);
                } else if constexpr (Sending::first == Filled::arena) {
                    Arena<Root> handle = arena;
                    return Fn(handle, std::move(each)...);
                } else {
                    return Fn(std::move(each)...);
                }
            },
            args);
    }

    /// For a process of its own: opens the arena, never creates it.
    static int run_worker(const WorkerOrder& order) {
        static_assert(std::is_default_constructible_v<Root> || std::is_aggregate_v<Root>,
                      "lagoon: workers open the arena with the struct's default arguments; give "
                      "its constructor some. Extents are the arena's all the same");
        OpenOptions options;
        options.owner = order.owner;
        options.directory = order.directory;
        Arguments args = decode_all(std::type_identity<Arguments>{}, order.arguments);
        const Arena<Root> arena = Arena<Root>::open(order.arena, options);
        worker_attached(order, arena.attached());
        if constexpr (std::is_same_v<Result, int>) {
            return call(arena, std::move(args));
        } else {
            call(arena, std::move(args));
            return 0;
        }
    }

    static const TaskNode& node() noexcept { return node_; }

private:
    template <class From, class To>
    static constexpr bool converts_to = std::is_convertible_v<From, To> ||
                                        (std::is_same_v<To, std::string> &&
                                         std::is_convertible_v<From, std::string_view>);

    template <class... T, class... Args>
    static std::string convert(std::type_identity<std::tuple<T...>>, Args&&... args) {
        static_assert((converts_to<Args, T> && ...),
                      "lagoon: an argument does not convert to the function's parameter");
        return encode<T...>(static_cast<T>(std::forward<Args>(args))...);
    }
    template <class... T>
    static Arguments decode_all(std::type_identity<std::tuple<T...>>, std::string_view bytes) {
        return decode<T...>(bytes);
    }

    static inline TaskNode node_{typeid(Task).name(), &run_worker};
};

}  // namespace lagoon::inline v1::detail
