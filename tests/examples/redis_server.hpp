// redis_server.hpp: a redis-server of our own on a Unix socket, and a client of it.
//
// Used by redis_clusters. The server's standard input is the file `<socket>.lock`, which whoever
// starts it has locked: the kernel keeps that lock for as long as the server lives, from before it
// exists, and no longer. So whoever gets the lock knows that there is none, and needs no PID.
#pragma once

#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <spawn.h>
#include <sys/file.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>

/// There is no server, or it has ended in the middle.
struct ServerGone : std::runtime_error {
    using std::runtime_error::runtime_error;
};

class Client {
public:
    explicit Client(const std::string& socket)
        : context_{redisConnectUnixWithTimeout(socket.c_str(), patience), &redisFree} {
        if (context_ == nullptr) throw std::bad_alloc{};
        require(context_->err == 0);
        require(redisSetTimeout(context_.get(), patience) == REDIS_OK);
    }

    /// The integer that a command answers, 0 for any other answer; throws when there is none.
    template <class... Args>
    long long command(const char* format, Args... args) {
        const std::unique_ptr<redisReply, void (*)(void*)> reply{
            static_cast<redisReply*>(redisCommand(context_.get(), format, args...)),
            &freeReplyObject};
        require(reply != nullptr);
        if (reply->type == REDIS_REPLY_ERROR) throw std::runtime_error{reply->str};
        return reply->type == REDIS_REPLY_INTEGER ? reply->integer : 0;
    }

private:
    static constexpr timeval patience{5, 0};
    void require(bool condition) const {
        if (!condition) throw ServerGone{std::string{"redis: "} + context_->errstr};
    }
    std::unique_ptr<redisContext, void (*)(redisContext*)> context_;
};

/// The lock file of a server.
class ServerLock {
public:
    explicit ServerLock(const std::string& socket)
        : fd_{open((socket + ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)} {
        if (fd_ < 0) throw std::system_error{errno, std::generic_category(), socket + ".lock"};
    }
    ServerLock(const ServerLock&) = delete;
    ServerLock& operator=(const ServerLock&) = delete;
    ~ServerLock() { close(fd_); }
    [[nodiscard]] bool try_lock() const { return flock(fd_, LOCK_EX | LOCK_NB) == 0; }
    [[nodiscard]] int fd() const { return fd_; }

private:
    int fd_;
};

/// Starts a server; it is not ready yet when this returns.
inline void start_server(const std::string& socket) {
    const ServerLock lock{socket};
    if (!lock.try_lock()) throw std::runtime_error{"a server runs already on " + socket};
    const std::string log = socket + ".log", pidfile = socket + ".pid";
    const char* argv[] = {"redis-server",
                          "--port",
                          "0",
                          "--unixsocket",
                          socket.c_str(),
                          "--pidfile",
                          pidfile.c_str(),
                          "--logfile",
                          log.c_str(),
                          "--save",
                          "",
                          "--daemonize",
                          "no",
                          nullptr};
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, lock.fd(), STDIN_FILENO);
    posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);  // no signals of our terminal
    int error = ENOENT;
    // One binary, which goes by argv[0]; Debian's redis-tools has it under the second name.
    for (const char* file : {"redis-server", "redis-check-rdb"}) {
        pid_t pid = 0;
        error = posix_spawnp(&pid, file, &files, &attributes, const_cast<char**>(argv), environ);
        if (error != ENOENT) break;
    }
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    if (error != 0) throw std::system_error{error, std::generic_category(), "redis-server"};
}

/// Does it answer?
inline bool answers(const std::string& socket) {
    try {
        Client{socket}.command("PING");
        return true;
    } catch (const std::exception&) {
        return false;
    }
}

inline void wait_until_it_answers(const std::string& socket) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{20};
    while (!answers(socket)) {
        // Killed before it was ready.
        if (ServerLock{socket}.try_lock()) throw ServerGone{"the server has ended on " + socket};
        if (std::chrono::steady_clock::now() > deadline) {
            throw std::runtime_error{"no answer from the server on " + socket};
        }
        std::this_thread::sleep_for(std::chrono::milliseconds{5});
    }
}

/// Ends the server on this socket, ready or not, if there is one, and waits for its end.
inline void stop_server(const std::string& socket) {
    const ServerLock lock{socket};
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{10};
    while (!lock.try_lock()) {
        try {
            Client{socket}.command("SHUTDOWN NOSAVE");
        } catch (const std::exception&) {  // not ready yet, or about to end
        }
        if (std::chrono::steady_clock::now() > deadline) {
            if (pid_t pid = 0; std::ifstream{socket + ".pid"} >> pid && pid > 0) {
                kill(pid, SIGKILL);
            }
        }
        std::this_thread::sleep_for(std::chrono::milliseconds{5});
    }
}
