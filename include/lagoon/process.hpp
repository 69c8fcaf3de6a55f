// process.hpp: a function of this program, run in a process of its own.
//
//   Shape      movable, in private memory; one or two descriptors while the process runs
//   Progress   spawn makes some twenty system calls and does not wait for the worker; join waits
//              in the kernel, to its deadline
//   Errors     spawn: spawn_failed, run_if_worker_missing, too_large (arguments above 1 MiB);
//              join: worker_never_attached, or what the worker could not begin with:
//              unknown_function, layout_mismatch and so on
//   Death      of the worker: told by exit_status(). Of the parent: a stop is requested in the
//              worker, and after the grace it ends itself with 65, busy or not. A copy made by
//              fork is foreign: its destructor does nothing, and all but joinable() and moving it
//              throws invalid_argument
//
// The worker is the running program's file, started anew: no memory is copied, no descriptor above
// 2 is inherited, signal mask and dispositions are the default ones. The function may be static, in
// an unnamed namespace, a template's instance, a static member or a captureless lambda. Arguments
// are converted to its parameters' types here, and travel in the environment, which the worker
// clears; they are on no command line. Exit codes: the function's own (an int, else 0), 1 after
// an exception, 64 when `main` does not begin with run_if_worker or the function cannot be run,
// 65 when the arena is gone or the parent is dead.
#pragma once

#include <chrono>
#include <csignal>
#include <iosfwd>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <lagoon/arena.hpp>
#include <lagoon/detail/task.hpp>
#include <lagoon/detail/wait.hpp>

namespace lagoon::inline v1 {

/// The first line of main. In a process that was started as a worker it runs what it was started
/// for and never returns; in any other it returns at once.
void run_if_worker(int argc, char** argv);

/// In a worker: stop is requested when the parent has died. Hand it to waits, ask it in loops.
/// In any other process nobody ever requests it.
[[nodiscard]] std::stop_token worker_stop_token();

enum class Ended : std::uint32_t {
    running,   ///< not yet
    exited,    ///< by itself, with `code`
    signaled,  ///< by `signal`
    unknown,   ///< its end was collected by somebody else (SIGCHLD ignored, a wait for any child)
};

struct ExitStatus {
    Ended how = Ended::running;
    int code = 0;    ///< of exited
    int signal = 0;  ///< of signaled

    [[nodiscard]] bool success() const noexcept { return how == Ended::exited && code == 0; }
    friend bool operator==(const ExitStatus&, const ExitStatus&) = default;
};

/// "exited 0", "killed by signal 9 (Killed)", "running", "unknown".
[[nodiscard]] std::string to_string(const ExitStatus& status);
std::ostream& operator<<(std::ostream& out, const ExitStatus& status);

struct SpawnOptions {
    /// Another program that begins with run_if_worker and has the function, with external
    /// linkage; searched in PATH without a slash. Empty: the running one.
    std::string program = {};
    /// What to put before the program, as `{"taskset", "-c", "1"}`; must leave the environment.
    std::vector<std::string> launcher = {};
    /// From the parent's death to the worker's, if the worker does not end by itself.
    std::chrono::milliseconds grace{1000};
    /// Added to the environment, or in place of a variable of that name.
    std::vector<std::pair<std::string, std::string>> environment = {};
};

namespace detail {
struct Child;
struct ChildDelete {
    void operator()(Child* child) const noexcept;
};
using ChildHandle = std::unique_ptr<Child, ChildDelete>;
struct SpawnRequest {
    const TaskNode& node;
    Attachment& arena;
    const SpawnOptions& options;
    std::string arguments;
};
ChildHandle spawn(const SpawnRequest& request);
}  // namespace detail

class Process {
public:
    /// Starts `Fn` with a first parameter of the arena's struct (or of the arena) filled in.
    template <auto Fn, class Root, class... Args>
    static Process spawn(const Arena<Root>& arena, const SpawnOptions& options, Args&&... args) {
        using Task = detail::Task<Fn, Root>;
        return Process{
            detail::spawn({.node = Task::node(),
                           .arena = arena.attached(),
                           .options = options,
                           .arguments = Task::encode_arguments(std::forward<Args>(args)...)})};
    }
    template <auto Fn, class Root, class... Args>
    requires(!(std::is_same_v<std::remove_cvref_t<Args>, SpawnOptions> || ...)) static Process
        spawn(const Arena<Root>& arena, Args&&... args) {
        return spawn<Fn>(arena, SpawnOptions{}, std::forward<Args>(args)...);
    }

    /// Empty: every call but joinable, running and the destructor throws invalid_argument.
    Process() noexcept = default;
    Process(Process&& other) noexcept = default;
    /// Joins what it held before.
    Process& operator=(Process&& other) noexcept;
    /// Waits for the process to end, as std::jthread does; after detach() it does not.
    ~Process();

    /// Waits until the process has ended; says `running` only when `stop` was requested first.
    /// Throws worker_never_attached and its like for a worker that never began.
    ExitStatus join(std::stop_token stop = {});
    /// True when the process has ended by the deadline.
    template <class Rep, class Period>
    bool join_for(std::chrono::duration<Rep, Period> duration, std::stop_token stop = {}) {
        return join_until(detail::deadline_after(duration), std::move(stop));
    }
    bool join_until(std::chrono::steady_clock::time_point deadline, std::stop_token stop = {});

    /// How the process ended, without waiting; empty while it runs.
    [[nodiscard]] std::optional<ExitStatus> exit_status() const;
    [[nodiscard]] bool running() const;
    /// Sends a signal; false when the process has ended. Never reaches another process that has
    /// the same number by now.
    bool kill(int signal = SIGKILL);
    /// As this process's PID namespace numbers it.
    [[nodiscard]] int pid() const;
    /// True while it stands for a process of ours, running or ended.
    [[nodiscard]] bool joinable() const noexcept { return child_ != nullptr; }
    /// Lets it run; how it ends is nobody's business any more. It still ends with this process.
    void detach();

private:
    explicit Process(detail::ChildHandle child) noexcept : child_{std::move(child)} {}
    [[nodiscard]] detail::Child& child() const;

    detail::ChildHandle child_;
};

}  // namespace lagoon::inline v1
