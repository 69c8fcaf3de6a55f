// arena_view.hpp: any arena, without its struct, for tools and other languages.
//
//   Shape      a mapping of the whole file, read-only unless asked
//   Errors     as Arena::open; find throws not_found and layout_mismatch
//   Death      a read-only view is not a member and holds nothing; a writable one is
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <lagoon/arena_options.hpp>
#include <lagoon/detail/layout.hpp>

namespace lagoon::inline v1 {

struct ViewOptions {
    bool writable = false;  ///< attach as a member, which locks and leases need
    std::int64_t owner = -1;
    std::string directory = {};
    bool keeper = true;
};

/// One member of the struct, as the directory has it.
struct MemberInfo {
    std::string name;
    std::string kind;  ///< "Counter", "Array<int>" and so on
    std::string element_type;
    std::uint64_t element_bytes = 0;
    std::uint64_t extent = 0;
    std::uint64_t offset = 0;  ///< of the object, from the start of the arena
    std::uint64_t bytes = 0;   ///< of its storage
};

/// One attached process.
struct ProcessInfo {
    std::uint32_t member = 0;
    std::uint32_t pid = 0;  ///< as its own PID namespace numbers it
    bool alive = false;
    bool keeper = false;
    std::uint64_t attached_realtime_ns = 0;
};

class ArenaView {
public:
    static ArenaView open(std::string_view name, const ViewOptions& options = {});

    ArenaView(ArenaView&&) noexcept;
    ArenaView& operator=(ArenaView&&) noexcept;
    ~ArenaView();

    [[nodiscard]] std::string_view name() const noexcept;
    [[nodiscard]] std::uint64_t bytes() const noexcept;
    [[nodiscard]] bool scoped() const noexcept;
    [[nodiscard]] bool is_shut_down() const noexcept;
    [[nodiscard]] std::uint32_t creator_pid() const noexcept;
    [[nodiscard]] std::uint64_t created_realtime_ns() const noexcept;
    [[nodiscard]] std::uint64_t deaths() const noexcept;
    [[nodiscard]] std::vector<MemberInfo> members() const;
    [[nodiscard]] std::vector<ProcessInfo> processes() const;

    /// The member called `name`, checked to be a T of this kind, element and size. A write through
    /// it faults unless the view is writable.
    template <class T>
    [[nodiscard]] T& find(std::string_view name) const;
    /// The entry itself, or null.
    [[nodiscard]] const detail::DirectoryEntry* entry(std::string_view name) const noexcept;
    [[nodiscard]] void* object(const detail::DirectoryEntry& entry) const;

    struct State;
    [[nodiscard]] State& state() const noexcept { return *state_; }

private:
    explicit ArenaView(std::unique_ptr<State> state) noexcept;
    [[nodiscard]] void* find_checked(std::string_view name,
                                     const detail::DirectoryEntry& expected) const;

    std::unique_ptr<State> state_;
};

namespace detail {
/// What the directory would say of a T that is called `name`: constructs one in scratch memory.
DirectoryEntry describe(std::string_view name, std::uint64_t bytes, std::uint64_t align,
                        void (*construct)(void* where, const char* name));

template <class T>
void construct_described(void* where, const char* name) {
    if constexpr (std::is_constructible_v<T, const char*, Count>) {
        ::new (where) T{name, Count{1}};
    } else if constexpr (requires { typename T::options_type; }) {
        typename T::options_type options;
        options.capacity = 1;  // the extent is the arena's, and is not compared
        ::new (where) T{name, options};
    } else {
        ::new (where) T{name};
    }
}
}  // namespace detail

template <class T>
T& ArenaView::find(std::string_view name) const {
    const auto expected =
        detail::describe(name, sizeof(T), alignof(T), &detail::construct_described<T>);
    return *static_cast<T*>(find_checked(name, expected));
}

/// A file of the directory that carries an arena's name.
struct ArenaListing {
    std::string name;
    std::uint64_t bytes = 0;
    std::string problem;  ///< empty for a sound arena, else what is wrong with the file
};

/// Every arena of the directory; removes scoped ones that nobody is left in.
std::vector<ArenaListing> list_arenas(const std::string& directory = {});

}  // namespace lagoon::inline v1
