// os.hpp: the system calls of the runtime, each with its answer made plain.
#pragma once

#include <cerrno>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include <lagoon/detail/atomic.hpp>
#include <lagoon/detail/wait.hpp>
#include <lagoon/error.hpp>

namespace lagoon::inline v1::os {

/// A file descriptor that closes itself.
class Fd {
public:
    Fd() noexcept = default;
    explicit Fd(int number) noexcept : number_{number} {}
    Fd(Fd&& other) noexcept : number_{std::exchange(other.number_, -1)} {}
    Fd& operator=(Fd&& other) noexcept {
        std::swap(number_, other.number_);
        return *this;
    }
    ~Fd();
    [[nodiscard]] int get() const noexcept { return number_; }
    [[nodiscard]] int release() noexcept { return std::exchange(number_, -1); }
    explicit operator bool() const noexcept { return number_ >= 0; }

private:
    int number_ = -1;
};

/// Which file a descriptor or a path leads to.
struct FileId {
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    friend bool operator==(const FileId&, const FileId&) = default;
};
[[nodiscard]] FileId file_of(int fd) noexcept;                   // zeros: not open
[[nodiscard]] FileId file_at(const std::string& path) noexcept;  // zeros: no such file

enum class LockKind { shared, exclusive };
enum class Answer { yes, no, refused };

/// Tries to lock one byte for this open file description. `refused`: the kernel or a sandbox does
/// not do it at all; errno says why.
[[nodiscard]] Answer try_lock_byte(int fd, std::int64_t byte, LockKind kind) noexcept;
void unlock_byte(int fd, std::int64_t byte) noexcept;
/// Does another description hold a lock on the byte?
[[nodiscard]] Answer is_byte_locked(int fd, std::int64_t byte) noexcept;

/// Opens the file behind `fd` once more: a description of its own. Throws not_supported when
/// /proc is missing.
[[nodiscard]] Fd reopen(int fd, const std::string& what);
/// The same description under a number of its own; none where the process has no number left.
[[nodiscard]] Fd duplicate(int fd) noexcept;

int futex_wake(detail::Atomic<std::uint32_t>& word, int count) noexcept;

struct Watched {
    detail::Atomic<std::uint32_t>* word;
    std::uint32_t seen;
};
enum class Slept { woken, changed, timed_out, interrupted, refused };
/// Sleeps until one of the words is woken or is not as seen, or until the monotonic deadline.
/// Where futex_waitv is refused it watches the first word only, and says so by `refused` after a
/// short sleep.
[[nodiscard]] Slept futex_wait_any(std::span<const Watched> words, detail::Deadline deadline,
                                   std::size_t* which) noexcept;
[[nodiscard]] Slept futex_wait(detail::Atomic<std::uint32_t>& word, std::uint32_t seen,
                               detail::Deadline deadline) noexcept;

/// A thread that nobody waits for, with the caller's signal mask. False where none is to be had.
[[nodiscard]] bool start_thread(void* (*code)(void*), void* argument) noexcept;
[[nodiscard]] std::uint32_t thread_id() noexcept;
[[nodiscard]] std::uint32_t process_id() noexcept;
[[nodiscard]] std::uint64_t realtime_ns() noexcept;
[[nodiscard]] std::uint64_t pid_namespace() noexcept;
/// By a signal or a debugger. False where nobody will say.
[[nodiscard]] bool is_stopped(std::uint32_t pid);
/// Does that process have the file in its memory that is mapped here? Yes, too, where it is ending
/// or there is too much to look at; refused where this process may not look.
[[nodiscard]] Answer maps_same_file(std::uint32_t pid, const void* mapped);
/// A pidfd; none, and errno, where the process is gone or the kernel refuses it.
[[nodiscard]] Fd open_process(std::uint32_t pid) noexcept;
/// False, and errno, where it is refused.
[[nodiscard]] bool send_signal(const Fd& pidfd, int signal) noexcept;
/// Reads a small file whole; empty when it cannot be read.
[[nodiscard]] std::string read_file(const std::string& path);
void random_bytes(void* into, std::size_t bytes);
[[nodiscard]] std::string error_text(int error);

}  // namespace lagoon::inline v1::os
