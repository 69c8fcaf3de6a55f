// lease.cpp: `lagoon lease`: holds a resource of a pool while a command runs.
//
//   killed                  leaves
//   the command             nothing: its status is ours, the resource is given back
//   lagoon, by a signal     forwarded to the command when it can be caught; we wait for its end
//   lagoon, by SIGKILL      the kernel kills the command (PR_SET_PDEATHSIG), and the lease is taken
//                           back as from any dead process, which may be a moment before. What the
//                           command had started itself lives on without the resource.
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include <lagoon/error.hpp>
#include <lagoon/pool_options.hpp>

#include "commands.hpp"
#include "element.hpp"
#include "runtime/arena_file.hpp"
#include "text.hpp"

namespace lagoon::inline v1::tool {

using detail::DirectoryEntry;
using detail::PoolObject;
using detail::Taken;

namespace {

constexpr int exit_not_executable = 126;  // as shells have it
constexpr int exit_not_found = 127;
constexpr int exit_signal = 128;
constexpr std::size_t environment_limit = 60'000;  // of one variable; the kernel's is 128 KiB
constexpr std::array forwarded{SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2};

/// A resource in hand, given back at the end whatever happens.
class Holding {
public:
    Holding(PoolObject& pool, Taken taken) noexcept
        : pool_{pool}, taken_{taken}, epoch_{detail::process_epoch()} {}
    ~Holding() { detail::pool_give_back(pool_, taken_, epoch_); }
    Holding(const Holding&) = delete;
    Holding& operator=(const Holding&) = delete;

    [[nodiscard]] const Taken& taken() const noexcept { return taken_; }
    void mark_clean() noexcept { taken_.word = detail::pool_mark_clean(pool_, taken_, epoch_); }

private:
    PoolObject& pool_;
    Taken taken_;
    std::uint64_t epoch_;
};

detail::Deadline deadline_of(const LeaseRequest& request) {
    if (request.no_wait) return detail::Deadline::min();
    if (!request.timeout_seconds) return detail::for_ever;
    return detail::deadline_after(std::chrono::duration<double>{*request.timeout_seconds});
}

int explain_refusal(const LeaseRequest& request, const PoolObject& pool, Taken none) {
    const PoolStats stats = detail::pool_stats(pool);
    std::string text = "no lease of pool '" + request.pool + "' of arena '" + request.arena +
                       "': " + to_string(outcome_of(none)) + " (" + std::to_string(stats.idle) +
                       " idle, " + std::to_string(stats.leased) + " leased, " +
                       std::to_string(stats.empty) + " empty";
    if (stats.dirty != 0) {
        text += ", " + std::to_string(stats.dirty) + " dirty, which want a hook of their program";
    }
    complain(text + ')');
    return request.conflict_exit_code;
}

/// What the command is told about the resource.
void set_environment(const Common& common, const LeaseRequest& request, const ArenaView& view,
                     const DirectoryEntry& entry, const Taken& taken) {
    const auto set = [](const char* name, const std::string& value) {
        if (::setenv(name, value.c_str(), 1) != 0) {
            throw Error{Errc::system, std::string{"cannot set "} + name, errno};
        }
    };
    const auto& pool = *static_cast<const PoolObject*>(view.object(entry));
    if (!common.directory.empty()) set("LAGOON_DIR", detail::arena_directory(common.directory));
    set("LAGOON_ARENA", request.arena);
    set("LAGOON_POOL", request.pool);
    set("LAGOON_SLOT", std::to_string(taken.index));
    set("LAGOON_FILL", std::to_string(detail::pool_fill(pool, taken.index)));
    set("LAGOON_RECOVERED", detail::word::recovered(taken.word) ? "1" : "0");
    const Bytes bytes = read_held(pool, taken.index);
    ::unsetenv("LAGOON_VALUE");
    ::unsetenv("LAGOON_VALUE_HEX");
    if (2 * bytes.size() > environment_limit) return;
    set("LAGOON_VALUE_HEX", to_hex(bytes));
    const Json value = to_json(entry.element_type.data(), bytes);
    if (!value.is_object()) set("LAGOON_VALUE", to_text(value, false));
}

[[noreturn]] void become(char* const* command, const sigset_t& mask,
                         const struct sigaction& on_child, pid_t parent) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(exit_signal + SIGKILL);  // it died before that
    ::sigaction(SIGCHLD, &on_child, nullptr);
    ::pthread_sigmask(SIG_SETMASK, &mask, nullptr);
    ::execvp(command[0], command);
    const int error = errno;
    complain(std::string{"cannot run '"} + command[0] + "': " + std::strerror(error));
    ::_exit(error == ENOENT ? exit_not_found : exit_not_executable);
}

/// Waits for the command and hands on what others tell us; a terminal tells it itself.
int wait_for(pid_t child, const sigset_t& awaited) {
    for (;;) {
        int status = 0;
        const pid_t ended = ::waitpid(child, &status, WNOHANG);
        if (ended < 0 && errno != EINTR) {
            throw Error{Errc::system, "cannot wait for the command", errno};
        }
        if (ended == child) {
            return WIFSIGNALED(status) ? exit_signal + WTERMSIG(status) : WEXITSTATUS(status);
        }
        siginfo_t info{};
        const int signal = ::sigwaitinfo(&awaited, &info);
        if (signal > 0 && signal != SIGCHLD && info.si_code <= 0) ::kill(child, signal);
    }
}

int run(const std::vector<std::string>& command) {
    std::vector<char*> arguments;
    for (const auto& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
    arguments.push_back(nullptr);
    sigset_t awaited;
    sigset_t before;
    ::sigemptyset(&awaited);
    ::sigaddset(&awaited, SIGCHLD);
    for (const int signal : forwarded) ::sigaddset(&awaited, signal);
    struct sigaction standard {};
    struct sigaction on_child {};
    standard.sa_handler = SIG_DFL;
    ::sigaction(SIGCHLD, &standard, &on_child);
    ::pthread_sigmask(SIG_BLOCK, &awaited, &before);
    const pid_t self = ::getpid();
    const pid_t child = ::fork();
    if (child < 0) throw Error{Errc::spawn_failed, "cannot start the command: fork", errno};
    if (child == 0) become(arguments.data(), before, on_child, self);
    return wait_for(child, awaited);
}

}  // namespace

int lease(const Common& common, const LeaseRequest& request) {
    const ArenaView view = ArenaView::open(
        request.arena, {.writable = true, .owner = common.owner, .directory = common.directory});
    const DirectoryEntry& entry = find_member(view, request.pool);
    if (kind_of(entry) != detail::Kind::pool) {
        throw Error{Errc::invalid_argument,
                    "arena '" + request.arena + "': member '" + request.pool + "' is no pool"};
    }
    auto& pool = *static_cast<PoolObject*>(view.object(entry));
    const Taken taken = detail::pool_acquire(pool, detail::Want::idle, {deadline_of(request), {}});
    if (taken.word == 0) return explain_refusal(request, pool, taken);
    Holding holding{pool, taken};
    set_environment(common, request, view, entry, taken);
    const int status = run(request.command);
    if (status == 0 && request.mark_clean) holding.mark_clean();
    return status;
}

}  // namespace lagoon::inline v1::tool
