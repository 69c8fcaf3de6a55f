// os.cpp: the system calls of the runtime.
#include "os.hpp"

#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <ctime>
#include <sstream>

namespace lagoon::inline v1::os {

namespace {

constexpr std::size_t most_read = std::size_t{1} << 20;
constexpr std::chrono::milliseconds blind_sleep{20};  // where only one word can be watched

struct flock one_byte(std::int64_t byte, short type) noexcept {
    struct flock lock {};
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    lock.l_start = byte;
    lock.l_len = 1;
    return lock;
}

timespec to_timespec(detail::Deadline deadline) noexcept {
    const auto since = std::max(deadline.time_since_epoch(), detail::Deadline::duration::zero());
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since);
    timespec spec{};
    spec.tv_sec = seconds.count();
    spec.tv_nsec = std::chrono::nanoseconds(since - seconds).count();
    return spec;
}

Slept from_errno(int error) noexcept {
    switch (error) {
        case EAGAIN: return Slept::changed;
        case ETIMEDOUT: return Slept::timed_out;
        case EINTR: return Slept::interrupted;
        default: return Slept::refused;
    }
}

}  // namespace

Fd::~Fd() {
    if (number_ >= 0) ::close(number_);
}

FileId file_of(int fd) noexcept {
    struct stat found {};
    if (fd < 0 || ::fstat(fd, &found) != 0) return {};
    return {found.st_dev, found.st_ino};
}

FileId file_at(const std::string& path) noexcept {
    struct stat found {};
    if (::lstat(path.c_str(), &found) != 0) return {};
    return {found.st_dev, found.st_ino};
}

Answer try_lock_byte(int fd, std::int64_t byte, LockKind kind) noexcept {
    struct flock lock = one_byte(byte, kind == LockKind::shared ? F_RDLCK : F_WRLCK);
    for (;;) {
        if (::fcntl(fd, F_OFD_SETLK, &lock) == 0) return Answer::yes;
        if (errno == EAGAIN || errno == EACCES) return Answer::no;
        if (errno != EINTR) return Answer::refused;
    }
}

void unlock_byte(int fd, std::int64_t byte) noexcept {
    struct flock lock = one_byte(byte, F_UNLCK);
    ::fcntl(fd, F_OFD_SETLK, &lock);
}

Answer is_byte_locked(int fd, std::int64_t byte) noexcept {
    struct flock lock = one_byte(byte, F_WRLCK);
    for (;;) {
        if (::fcntl(fd, F_OFD_GETLK, &lock) == 0) {
            return lock.l_type == F_UNLCK ? Answer::no : Answer::yes;
        }
        if (errno != EINTR) return Answer::refused;
    }
}

Fd reopen(int fd, const std::string& what) {
    const std::string path = "/proc/self/fd/" + std::to_string(fd);
    Fd again{::open(path.c_str(), O_RDWR | O_CLOEXEC)};
    if (again) return again;
    const int error = errno;
    if (error == ENOENT && ::access("/proc/self/fd", F_OK) != 0) {
        throw Error{Errc::not_supported,
                    what +
                        ": /proc is not mounted, and without it a process cannot take the "
                        "lock that tells others of its death; mount it: mount -t proc proc /proc",
                    error};
    }
    throw Error{error == EMFILE || error == ENFILE ? Errc::system : Errc::not_permitted,
                what + ": cannot open " + path + " once more: " + error_text(error), error};
}

Fd duplicate(int fd) noexcept { return Fd{::fcntl(fd, F_DUPFD_CLOEXEC, 0)}; }

int futex_wake(detail::Atomic<std::uint32_t>& word, int count) noexcept {
    return static_cast<int>(
        ::syscall(SYS_futex, word.address(), FUTEX_WAKE, count, nullptr, nullptr, 0));
}

Slept futex_wait(detail::Atomic<std::uint32_t>& word, std::uint32_t seen,
                 detail::Deadline deadline) noexcept {
    const timespec until = to_timespec(deadline);
    const long answer =
        ::syscall(SYS_futex, word.address(), FUTEX_WAIT_BITSET, seen,
                  deadline == detail::for_ever ? nullptr : &until, nullptr, FUTEX_BITSET_MATCH_ANY);
    return answer == 0 ? Slept::woken : from_errno(errno);
}

Slept futex_wait_any(std::span<const Watched> words, detail::Deadline deadline,
                     std::size_t* which) noexcept {
    *which = 0;
#ifdef SYS_futex_waitv
    if (words.size() > 1) {
        std::array<futex_waitv, FUTEX_WAITV_MAX> list{};
        const std::size_t count = std::min<std::size_t>(words.size(), list.size());
        for (std::size_t i = 0; i < count; ++i) {
            list[i].uaddr = reinterpret_cast<std::uintptr_t>(words[i].word->address());
            list[i].val = words[i].seen;
            list[i].flags = FUTEX_32;
        }
        const timespec until = to_timespec(deadline);
        const long answer =
            ::syscall(SYS_futex_waitv, list.data(), count, 0,
                      deadline == detail::for_ever ? nullptr : &until, CLOCK_MONOTONIC);
        if (answer >= 0) {
            *which = static_cast<std::size_t>(answer);
            return Slept::woken;
        }
        if (errno != ENOSYS && errno != EPERM) return from_errno(errno);
        const auto soon = std::chrono::steady_clock::now() + blind_sleep;
        const Slept slept = futex_wait(*words[0].word, words[0].seen, std::min(deadline, soon));
        return slept == Slept::timed_out && soon < deadline ? Slept::refused : slept;
    }
#endif
    return futex_wait(*words[0].word, words[0].seen, deadline);
}

bool start_thread(void* (*code)(void*), void* argument) noexcept {
    pthread_attr_t attributes;
    if (::pthread_attr_init(&attributes) != 0) return false;
    ::pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_t thread{};
    const int error = ::pthread_create(&thread, &attributes, code, argument);
    ::pthread_attr_destroy(&attributes);
    return error == 0;
}

std::uint32_t thread_id() noexcept { return static_cast<std::uint32_t>(::syscall(SYS_gettid)); }

std::uint32_t process_id() noexcept { return static_cast<std::uint32_t>(::getpid()); }

std::uint64_t realtime_ns() noexcept {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
           static_cast<std::uint64_t>(now.tv_nsec);
}

std::uint64_t pid_namespace() noexcept {
    struct stat found {};
    return ::stat("/proc/self/ns/pid", &found) == 0 ? found.st_ino : 0;
}

bool is_stopped(std::uint32_t pid) {
    const std::string stat = read_file("/proc/" + std::to_string(pid) + "/stat");
    // Behind the program's name, which may hold anything.
    const std::size_t name_end = stat.rfind(") ");
    if (name_end == std::string::npos || name_end + 2 >= stat.size()) return false;
    const char state = stat[name_end + 2];
    return state == 'T' || state == 't';
}

Answer maps_same_file(std::uint32_t pid, const void* mapped) {
    const std::string path = "/proc/" + std::to_string(pid) + "/maps";
    if (!Fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)} && errno != ENOENT && errno != ESRCH) {
        return Answer::refused;
    }
    const std::string theirs = read_file(path);
    // Who is ending has nothing any more; of who has more than was read nothing is known.
    if (theirs.empty() || theirs.size() > most_read) return Answer::yes;
    const auto at = reinterpret_cast<std::uintptr_t>(mapped);
    // As /proc calls the file: some file systems have another device there than stat says.
    std::istringstream ours{read_file("/proc/self/maps")};
    for (std::string line; std::getline(ours, line);) {
        std::istringstream fields{line};
        std::uintptr_t begin = 0;
        std::uintptr_t end = 0;
        std::string access, offset, device, inode;
        char dash = 0;
        fields >> std::hex >> begin >> dash >> end >> access >> offset >> device >> inode;
        if (!fields || at < begin || at >= end) continue;
        const bool found = theirs.find(' ' + device + ' ' + inode + ' ') != std::string::npos;
        return found ? Answer::yes : Answer::no;
    }
    return Answer::refused;
}

Fd open_process(std::uint32_t pid) noexcept {
    return Fd{static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))};
}

bool send_signal(const Fd& pidfd, int signal) noexcept {
    return ::syscall(SYS_pidfd_send_signal, pidfd.get(), signal, nullptr, 0) == 0;
}

std::string read_file(const std::string& path) {
    std::string text;
    const Fd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    std::array<char, 4096> piece{};
    while (fd) {
        const ssize_t got = ::read(fd.get(), piece.data(), piece.size());
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0 || text.size() > most_read) break;
        text.append(piece.data(), static_cast<std::size_t>(got));
    }
    return text;
}

void random_bytes(void* into, std::size_t bytes) {
    std::size_t done = 0;
    while (done < bytes) {
        const ssize_t got = ::getrandom(static_cast<char*>(into) + done, bytes - done, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            throw Error{Errc::system, "the kernel gives no random numbers", errno};
        }
        done += static_cast<std::size_t>(got);
    }
}

std::string error_text(int error) {
    return std::generic_category().message(error) + " (errno " + std::to_string(error) + ")";
}

}  // namespace lagoon::inline v1::os
