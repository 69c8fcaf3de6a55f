// arena.hpp: one struct in a file in memory, shared by every process that names it.
//
//   Shape      a header page, member and lane entries, a directory, the struct, its storage
//   Unit       bytes; the size is computed from the struct's members
//   Progress   set-up calls make system calls and may wait for the gate, 10 s at the most;
//              operator-> is a plain load
//   Errors     lagoon::Error naming the arena, what was expected, what was found, the remedy
//   Death      a creator killed anywhere leaves no name; a member killed anywhere is recognised by
//              the kernel's release of its lock and repaired by reap() or by the next who needs it
//   Source     runtime/DESIGN.md
#pragma once

#include <concepts>
#include <cstdint>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include <lagoon/arena_options.hpp>
#include <lagoon/detail/attachment.hpp>
#include <lagoon/error.hpp>

namespace lagoon::inline v1 {

template <class T>
class Pool;
template <class T>
struct PoolHooks;

template <class Root>
class Arena {
public:
    using root_type = Root;

    /// Makes the arena; throws name_taken when a living one has the name. The struct's
    /// constructors run twice, in scratch memory and in the arena, with `args` by const&.
    template <class... Args>
    static Arena create(std::string_view name, const ArenaOptions& options, const Args&... args) {
        return attach(detail::OpenMode::create, name, options, args...);
    }
    static Arena create(std::string_view name) { return create(name, ArenaOptions{}); }

    /// Attaches to a living arena, or a persistent one; throws no_such_arena, layout_mismatch.
    template <class... Args>
    requires(!(std::same_as<Args, OpenOptions> || ...)) static Arena
        open(std::string_view name, const Args&... args) {
        return attach(detail::OpenMode::open, name, ArenaOptions{}, args...);
    }
    template <class... Args>
    static Arena open(std::string_view name, const OpenOptions& options, const Args&... args) {
        ArenaOptions all;
        all.owner = options.owner;
        all.directory = options.directory;
        all.prefault = options.prefault;
        all.keeper = options.keeper;
        return attach(detail::OpenMode::open, name, all, args...);
    }

    /// Exactly one of those who race creates it; the others open what it made.
    template <class... Args>
    static Arena open_or_create(std::string_view name, const ArenaOptions& options,
                                const Args&... args) {
        return attach(detail::OpenMode::open_or_create, name, options, args...);
    }
    static Arena open_or_create(std::string_view name) {
        return open_or_create(name, ArenaOptions{});
    }

    Arena() noexcept = default;
    Arena(const Arena& other) noexcept
        : attachment_{other.attachment_}, root_{other.root_}, created_{other.created_} {
        if (attachment_ != nullptr) detail::add_handle(attachment_);
    }
    Arena(Arena&& other) noexcept
        : attachment_{std::exchange(other.attachment_, nullptr)},
          root_{std::exchange(other.root_, nullptr)},
          created_{std::exchange(other.created_, false)} {}
    Arena& operator=(Arena other) noexcept {
        std::swap(attachment_, other.attachment_);
        std::swap(root_, other.root_);
        std::swap(created_, other.created_);
        return *this;
    }
    /// The last handle of a process detaches it, unless leases are still out, a thread waits there,
    /// or a PoolHooks::factory is at work; one that is past its work is waited for, as by close().
    ~Arena() {
        if (attachment_ != nullptr) detail::drop_handle(attachment_);
    }

    Root* operator->() const { return &root(); }
    Root& operator*() const { return root(); }
    /// Throws closed after close() and after a move.
    [[nodiscard]] Root& root() const {
        if (root_ == nullptr) [[unlikely]]
            detail::throw_closed("");
        return *root_;
    }

    [[nodiscard]] std::string_view name() const { return detail::name_of(&attached()); }
    [[nodiscard]] std::uint64_t bytes() const { return detail::header_of(&attached()).arena_bytes; }
    [[nodiscard]] bool prefaulted() const { return detail::was_prefaulted(&attached()); }
    /// True for the handle that made the arena, and its copies.
    [[nodiscard]] bool created() const noexcept { return created_; }

    /// Recovers now whatever dead processes held; also runs the hooks this process has for it.
    Reaped reap() const { return detail::reap(&attached()); }

    /// This handle is done: it throws closed from then on. With the last handle the process
    /// detaches; references kept from before fault. Throws leases_outstanding when that last
    /// handle's process still holds leases, and busy when another thread of it waits for something
    /// in the arena, or a PoolHooks::factory is at work; then nothing has changed. A thread that is
    /// past its factory is waited for, 10 s at the most.
    void close() {
        detail::close_handle(&attached());
        attachment_ = nullptr;
        root_ = nullptr;
    }

    /// Ends the arena for everybody: waiters return closed (but for lock() without deadline or stop
    /// token, which cannot say so), idle resources go through destroy,
    /// the name goes. With drain it waits in between until every lease is given back; when `stop`
    /// or the deadline ends that wait it says so, and the arena has ended all the same.
    Outcome shut_down(ShutDown mode = ShutDown::now, std::stop_token stop = {}) {
        return detail::shut_down(&attached(), mode, {detail::for_ever, std::move(stop)});
    }
    Outcome shut_down_until(std::chrono::steady_clock::time_point deadline,
                            std::stop_token stop = {}) {
        return detail::shut_down(&attached(), ShutDown::drain, {deadline, std::move(stop)});
    }
    template <class Rep, class Period>
    Outcome shut_down_for(std::chrono::duration<Rep, Period> duration, std::stop_token stop = {}) {
        return shut_down_until(detail::deadline_after(duration), std::move(stop));
    }

    /// Kills the attached process `pid` (SIGKILL), waits until its death is proved, and takes back
    /// what it held: a lease is never taken from the living. ok; timed_out or cancelled, and it
    /// dies all the same as soon as the kernel can end it. Nobody else is ever hit, though the
    /// number may have gone to another process. Throws not_found when no such process is attached,
    /// invalid_argument for this process itself, not_permitted when it belongs to another user,
    /// not_supported where its number is one of another PID namespace, or the kernel has no pidfds.
    Outcome evict(std::uint32_t pid, std::stop_token stop = {}) const {
        return detail::evict(&attached(), pid, {detail::for_ever, std::move(stop)});
    }
    Outcome evict_until(std::chrono::steady_clock::time_point deadline, std::uint32_t pid,
                        std::stop_token stop = {}) const {
        return detail::evict(&attached(), pid, {deadline, std::move(stop)});
    }
    template <class Rep, class Period>
    Outcome evict_for(std::chrono::duration<Rep, Period> duration, std::uint32_t pid,
                      std::stop_token stop = {}) const {
        return evict_until(detail::deadline_after(duration), pid, std::move(stop));
    }

    /// Gives this process the code that a pool's resources need. Code belongs to a process: once
    /// in each, before its first lease; a second time throws invalid_argument. Defined in pool.hpp.
    template <class T, class Class>
    requires std::derived_from<Root, Class>
    void hooks(Pool<T> Class::*pool, std::type_identity_t<PoolHooks<T>> hooks) const;
    template <class T>
    void hooks(Pool<T>& pool, std::type_identity_t<PoolHooks<T>> hooks) const;

    /// For the library's own templates.
    [[nodiscard]] detail::Attachment& attached() const {
        if (attachment_ == nullptr) [[unlikely]]
            detail::throw_closed("");
        return *attachment_;
    }

private:
    template <class... Args>
    static Arena attach(detail::OpenMode mode, std::string_view name, const ArenaOptions& options,
                        const Args&... args) {
        static_assert(std::is_standard_layout_v<Root>,
                      "an arena's struct must be standard-layout: one access for all members, no "
                      "virtual functions, no base with data beside its own");
        static_assert(std::is_trivially_destructible_v<Root>,
                      "an arena's struct must be trivially destructible: no std::string, "
                      "std::vector or other owner of memory in it");
        static_assert(sizeof...(Args) == 0 || !std::is_aggregate_v<Root>,
                      "a struct that takes arguments needs a constructor that takes them");
        static_assert(std::is_constructible_v<Root, const Args&...> || sizeof...(Args) == 0,
                      "the struct has no constructor that takes these arguments");
        detail::RootType type{
            .bytes = sizeof(Root), .align = alignof(Root), .construct = {}, .on_create = {}};
        type.construct = [&](void* where) {
            if constexpr (sizeof...(Args) == 0) {
                ::new (where) Root{};
            } else {
                ::new (where) Root(args...);
            }
        };
        if constexpr (requires(Root & root) { root.on_create(); }) {
            type.on_create = [](void* root) { static_cast<Root*>(root)->on_create(); };
        }
        Arena arena;
        arena.attachment_ = detail::attach(mode, name, options, type, &arena.created_);
        arena.root_ = static_cast<Root*>(detail::root_of(arena.attachment_));
        return arena;
    }

    detail::Attachment* attachment_ = nullptr;
    Root* root_ = nullptr;
    bool created_ = false;
};

/// Repairs, without its struct, whatever dead processes held in the arena; removes a scoped
/// arena that nobody is left in. Throws no_such_arena.
Reaped reap(std::string_view name);
Reaped reap(std::string_view name, const OpenOptions& options);

/// Arena::evict, without its struct. Throws no_such_arena, too.
Outcome evict(std::string_view name, std::uint32_t pid, const OpenOptions& options = {},
              std::chrono::steady_clock::time_point deadline = detail::for_ever);

/// Removes the name, whoever is attached: they go on, nobody new can open it. False when there
/// was nothing of this name.
bool remove(std::string_view name);
bool remove(std::string_view name, const OpenOptions& options);
/// Makes an unqualified remove("x") ambiguous instead of a call of the C function, which would
/// delete a file.
bool remove(const char* name);

/// Installs a SIGSEGV handler that names arena and offset when a reference kept from before
/// close() is used, and then hands on to the handler before it.
void explain_faults();

}  // namespace lagoon::inline v1
