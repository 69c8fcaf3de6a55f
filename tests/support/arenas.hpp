// arenas.hpp: what tests of arenas share: names, errors, files, other processes.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <lagoon/error.hpp>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "forks.hpp"

namespace support {

/// Different for every call and every process that runs at one time.
inline std::string unique_name(std::string_view what) {
    static int count = 0;
    return std::string{what} + '-' + std::to_string(::getpid()) + '-' + std::to_string(++count);
}

inline std::string arena_directory() { return std::getenv("LAGOON_DIR"); }
inline std::string file_of(const std::string& name) {
    return arena_directory() + "/lagoon." + name;
}
inline bool exists(const std::string& path) {
    struct stat found {};
    return ::lstat(path.c_str(), &found) == 0;
}

/// The lagoon::Error that `call` throws; none when it throws nothing.
template <class Call>
std::optional<lagoon::Error> error_of(Call&& call) {
    try {
        (void)call();
    } catch (const lagoon::Error& error) {
        return error;
    }
    return std::nullopt;
}

/// Its code; Errc{} when nothing is thrown.
template <class Call>
lagoon::Errc code_of(Call&& call) {
    const auto error = error_of(std::forward<Call>(call));
    return error ? error->errc() : lagoon::Errc{};
}

/// Its text; empty when nothing is thrown.
template <class Call>
std::string text_of(Call&& call) {
    const auto error = error_of(std::forward<Call>(call));
    return error ? error->what() : "";
}

/// Looks until `holds()`; ends the process after a minute, so that no test hangs for ever.
template <class Predicate>
void wait_until(Predicate&& holds) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::minutes{1};
    while (!holds()) {
        if (std::chrono::steady_clock::now() > end) {
            std::fprintf(stderr, "a test waits for what does not come\n");
            std::abort();
        }
        std::this_thread::sleep_for(std::chrono::microseconds{200});
    }
}

/// A T that this process and its forked children share.
template <class T>
class Shared {
public:
    Shared() {
        void* memory =
            ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) std::abort();
        shared_ = ::new (memory) T{};
    }
    Shared(const Shared&) = delete;
    Shared& operator=(const Shared&) = delete;
    ~Shared() { ::munmap(shared_, sizeof(T)); }
    T& operator*() const { return *shared_; }
    T* operator->() const { return shared_; }

private:
    T* shared_;
};

/// A step that processes wait for.
class Flag {
public:
    void raise(int step = 1) const { step_->store(step); }
    void wait(int step = 1) const {
        wait_until([&] { return step_->load() >= step; });
    }
    [[nodiscard]] int step() const { return step_->load(); }

private:
    Shared<std::atomic<int>> step_;
};

/// How a process ended.
struct Ended {
    int code = -1;  // its exit code, -1 when a signal ended it
    int signal = 0;
    friend bool operator==(const Ended&, const Ended&) = default;
    friend std::ostream& operator<<(std::ostream& out, const Ended& ended) {
        return out << "code " << ended.code << " signal " << ended.signal;
    }
};
constexpr Ended exited(int code) { return {code, 0}; }
constexpr Ended killed_by(int signal) { return {-1, signal}; }

/// Runs `body` to an exit code; nothing of the test program's own is destroyed.
template <class Body>
[[noreturn]] void end_with(Body&& body) {
    int code = 99;
    try {
        code = body();
    } catch (const std::exception& error) {
        std::fprintf(stderr, "child: %s\n", error.what());
    } catch (...) {
        std::fprintf(stderr, "child: an exception\n");
    }
    std::fflush(nullptr);
    ::_exit(code);
}

/// A forked process that runs `body` and ends with what it returns. It dies with the test.
class Child {
public:
    template <class Body>
    explicit Child(Body&& body) : pid_{flush_and_fork()} {
        if (pid_ == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            for (const int signal : {SIGSEGV, SIGBUS, SIGABRT}) ::signal(signal, SIG_DFL);
            end_with(std::forward<Body>(body));
        }
        if (pid_ < 0) std::abort();
    }
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;
    Child(Child&& other) noexcept : pid_{std::exchange(other.pid_, -1)} {}
    Child& operator=(Child&& other) noexcept {
        std::swap(pid_, other.pid_);
        return *this;
    }
    ~Child() {
        if (pid_ > 0) (void)kill();
    }

    [[nodiscard]] pid_t pid() const { return pid_; }
    Ended wait() {
        int status = 0;
        while (::waitpid(pid_, &status, 0) < 0) {
            if (errno != EINTR) return {};
        }
        pid_ = -1;
        return WIFSIGNALED(status) ? killed_by(WTERMSIG(status)) : exited(WEXITSTATUS(status));
    }
    Ended kill() {
        ::kill(pid_, SIGKILL);
        return wait();
    }

private:
    /// What is buffered here is not to be written twice.
    static pid_t flush_and_fork() {
        if (!may_fork) {
            std::fputs("a unit test that forks has the tag [child]\n", stderr);
            std::abort();
        }
        std::fflush(nullptr);
        return ::fork();
    }

    pid_t pid_;
};

/// Stops the process, and comes back when it has stopped.
inline void stop(const Child& child) {
    ::kill(child.pid(), SIGSTOP);
    siginfo_t info{};
    while (::waitid(P_PID, static_cast<id_t>(child.pid()), &info, WSTOPPED) != 0) {
        if (errno != EINTR) std::abort();
    }
}

/// Runs `body` in a forked process to its end.
template <class Body>
Ended in_child(Body&& body) {
    return Child{std::forward<Body>(body)}.wait();
}

/// As in_child, and what the process wrote to standard output and error.
template <class Body>
std::pair<Ended, std::string> output_of(Body&& body) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) std::abort();
    Child child{[&] {
        ::dup2(ends[1], STDOUT_FILENO);
        ::dup2(ends[1], STDERR_FILENO);
        return body();
    }};
    ::close(ends[1]);
    std::string text;
    char piece[512];
    for (ssize_t got = 0; (got = ::read(ends[0], piece, sizeof piece)) > 0;) {
        text.append(piece, static_cast<std::size_t>(got));
    }
    ::close(ends[0]);
    return {child.wait(), text};
}

/// Overwrites bytes of a file.
inline void patch(const std::string& path, std::uint64_t offset, const void* bytes,
                  std::size_t size) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    const bool ok = fd >= 0 && ::pwrite(fd, bytes, size, static_cast<off_t>(offset)) ==
                                   static_cast<ssize_t>(size);
    if (fd >= 0) ::close(fd);
    if (!ok) {
        std::perror(path.c_str());
        std::abort();
    }
}

/// Says by name what this machine does not let us test, and counts it.
inline void skip(const char* test, const char* why) {
    std::printf("skipped: %s: %s\n", test, why);
    std::fflush(stdout);
    SUCCEED("skipped");
}

}  // namespace support
