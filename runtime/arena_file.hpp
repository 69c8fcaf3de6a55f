// arena_file.hpp: an arena's file: its name, its gate, its checks.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include <lagoon/detail/layout.hpp>

#include "os.hpp"

namespace lagoon::inline v1::detail {

/// Letters, digits, '.', '_', '-'; not empty, not too long. Throws bad_name.
void require_arena_name(std::string_view name);
/// The option, else LAGOON_DIR, else /dev/shm; absolute, from where the process stands now.
[[nodiscard]] std::string arena_directory(const std::string& option);
[[nodiscard]] std::string arena_path(const std::string& directory, std::string_view name);
constexpr std::string_view arena_prefix = "lagoon.";

/// The byte outside of all members that guards the way from a name to a file: openers hold it
/// shared, whoever removes the name holds it exclusively. Taken before the process lock. gate.cpp
class Gate {
public:
    /// Opens a description of its own on the file that `fd` is; waits to the deadline and then
    /// throws busy, naming the last holder.
    /// `expected` is compared with what was opened, where the host might have closed `fd` and
    /// opened something else under its number.
    Gate(int fd, os::LockKind kind, const std::string& what, os::FileId expected = {});
    Gate(const Gate&) = delete;
    Gate& operator=(const Gate&) = delete;

private:
    /// A descriptor that is closed in a child of fork.
    class Listed {
    public:
        Listed(int fd, const std::string& what);
        ~Listed();
        Listed(const Listed&) = delete;
        Listed& operator=(const Listed&) = delete;
        [[nodiscard]] int get() const noexcept { return number_; }

    private:
        friend void close_gates_of_parent() noexcept;

        int number_ = -1;
        os::FileId file_;
        Listed* next_ = nullptr;
    };
    friend void close_gates_of_parent() noexcept;
    friend void forget_gates_of_parent() noexcept;
    static Listed* open_;  // under the process lock, which a fork takes, too

    Listed description_;
};
/// In a forked child, before anything else runs there: the parent's gates are not its own.
void close_gates_of_parent() noexcept;
/// In a child that was made past glibc's handlers, before it opens a gate: the numbers of its
/// parent's gates may come to be others' there.
void forget_gates_of_parent() noexcept;

/// Opens the file without following links and without creating. An invalid Fd when there is none;
/// throws not_permitted, not_an_arena.
[[nodiscard]] os::Fd open_arena_file(const std::string& path, bool writable,
                                     const std::string& what);
/// Throws not_permitted unless the file is ours, root's or `owner`'s.
void require_owner(int fd, std::int64_t owner, const std::string& what);

/// A whole file, mapped and checked in every field and bound. Unmaps when it fails.
struct MappedFile {
    std::byte* base = nullptr;
    std::uint64_t bytes = 0;
};
[[nodiscard]] MappedFile map_arena_file(int fd, bool writable, const std::string& what);
[[nodiscard]] std::uint64_t checksum_of(const ArenaHeader& header,
                                        const DirectoryEntry* directory) noexcept;
[[nodiscard]] std::array<std::uint64_t, 2> boot_id() noexcept;

/// What the members of an unmapped file say.
enum class Life {
    living,   // somebody is attached
    nobody,   // nobody, or only the dead
    unclear,  // the kernel would not say
};
[[nodiscard]] Life life_of(int fd, const ArenaHeader& header, const MemberEntry* members,
                           std::uint32_t except = ~std::uint32_t{0});

/// Removes the name if, under the exclusive gate, it still leads to this file and (unless
/// `whoever_is_there`) the file is an arena that was shut down, or a scoped one without a living
/// member, `except` not counted.
/// True when the name is gone.
bool remove_name(const std::string& path, int fd, bool whoever_is_there, const std::string& what,
                 std::uint32_t except = ~std::uint32_t{0});

/// The same for a caller who holds the exclusive gate.
bool remove_name_gated(const std::string& path, int fd, bool whoever_is_there,
                       const std::string& what, std::uint32_t except);

/// Removes the name if it leads to an arena that was shut down, or to a scoped one that nobody is
/// left in. True when it did.
bool remove_if_stale(const std::string& path, std::int64_t owner, const std::string& what);

/// Throws no_space when the memory cgroup of this process plainly cannot hold `bytes` more.
void require_memory_room(std::uint64_t bytes, const std::string& what);

}  // namespace lagoon::inline v1::detail
