// rig.hpp: a process that is halted at every system call, or every instruction, of one operation,
// to be killed there or to be stepped against another one.
//
// Only the thread that runs the operation is traced. A kill at a stop ends the whole process before
// the system call it enters, or right after the one it leaves.
#pragma once

#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <utility>

#include "support/arenas.hpp"

namespace rig {

enum class Grain { call, instruction };
enum class Stop {
    halted,  // at a system call's entry or exit, or after an instruction
    done,    // the operation is over; the process lives
    ended,   // the process is no more
};

class Stepper {
public:
    /// A forked process that runs `prepare`, halts, and then runs `operation(prepared)`.
    template <class Prepare, class Operation>
    Stepper(Prepare&& prepare, Operation&& operation, Grain grain = Grain::call) : grain_{grain} {
        std::fflush(nullptr);
        pid_ = ::fork();
        if (pid_ == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            support::end_with([&] {
                auto prepared = prepare();
                if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) return 97;
                ::raise(SIGSTOP);
                operation(prepared);
                ::raise(SIGSTOP);
                ::_exit(0);
                return 0;
            });
        }
        if (!wait() || !WIFSTOPPED(status_) || WSTOPSIG(status_) != SIGSTOP) {
            state_ = Stop::ended;
            return;
        }
        const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL;
        ::ptrace(PTRACE_SETOPTIONS, pid_, nullptr, options);
    }
    Stepper(const Stepper&) = delete;
    Stepper& operator=(const Stepper&) = delete;
    ~Stepper() { (void)kill(); }

    [[nodiscard]] pid_t pid() const { return pid_; }
    [[nodiscard]] Stop state() const { return state_; }
    /// Stops so far.
    [[nodiscard]] std::uint64_t stops() const { return stops_; }
    [[nodiscard]] const support::Ended& end() const { return end_; }

    /// On to the next stop. While the process sleeps in a system call for longer than a moment,
    /// `when_blocked` is called, once a moment.
    Stop step(const std::function<void()>& when_blocked = nullptr) {
        if (state_ != Stop::halted) return state_;
        int signal = 0;
        for (;;) {
            const auto how = grain_ == Grain::call ? PTRACE_SYSCALL : PTRACE_SINGLESTEP;
            if (::ptrace(how, pid_, nullptr, signal) != 0 || !wait(when_blocked)) {
                return state_ = Stop::ended;
            }
            if (!WIFSTOPPED(status_)) {
                remember_end();
                return state_ = Stop::ended;
            }
            const int stopped_by = WSTOPSIG(status_);
            if (stopped_by == SIGSTOP) return state_ = Stop::done;
            if (stopped_by == (SIGTRAP | 0x80) ||
                (grain_ == Grain::instruction && stopped_by == SIGTRAP)) {
                ++stops_;
                return Stop::halted;
            }
            signal = stopped_by;  // the process's own affair
        }
    }
    /// On to the stop of that number, or the end.
    Stop step_to(std::uint64_t stop, const std::function<void()>& when_blocked = nullptr) {
        while (state_ == Stop::halted && stops_ < stop) step(when_blocked);
        return state_;
    }

    /// On until it is over, or has begun `naps` sleeps: then it waits for somebody who is halted.
    Stop run(int naps = 4) {
        while (state_ == Stop::halted && naps > 0) {
            if (step() != Stop::halted) break;
            __ptrace_syscall_info info{};
            if (::ptrace(PTRACE_GET_SYSCALL_INFO, pid_, sizeof info, &info) > 0 &&
                info.op == PTRACE_SYSCALL_INFO_ENTRY && info.entry.nr == SYS_clock_nanosleep) {
                --naps;
            }
        }
        return state_;
    }

    /// "entry of system call 257", for a failing test's message.
    [[nodiscard]] std::string where() const {
        __ptrace_syscall_info info{};
        if (state_ != Stop::halted ||
            ::ptrace(PTRACE_GET_SYSCALL_INFO, pid_, sizeof info, &info) <= 0) {
            return "";
        }
        if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
            return "entry of system call " + std::to_string(info.entry.nr);
        }
        return "exit of a system call, result " + std::to_string(info.exit.rval);
    }

    support::Ended kill() {
        if (pid_ > 0) {
            ::kill(pid_, SIGKILL);
            do {
                if (!wait()) break;
            } while (WIFSTOPPED(status_));
            remember_end();
            state_ = Stop::ended;
        }
        return end_;
    }
    /// Lets the process go on by itself, to its end.
    support::Ended finish() {
        if (pid_ > 0) {
            do {
                // The stops at the operation's end are ours, and every other signal its own.
                const int signal = WIFSTOPPED(status_) ? WSTOPSIG(status_) & 0x7f : 0;
                const bool ours = signal == SIGSTOP || signal == SIGTRAP;
                ::ptrace(PTRACE_CONT, pid_, nullptr, ours ? 0 : signal);
                if (!wait()) break;
            } while (WIFSTOPPED(status_));
            remember_end();
            state_ = Stop::ended;
        }
        return end_;
    }

private:
    bool wait(const std::function<void()>& when_blocked = nullptr) {
        using namespace std::chrono_literals;
        auto moment = std::chrono::steady_clock::now() + 10ms;
        for (;;) {
            const pid_t found = ::waitpid(pid_, &status_, when_blocked ? WNOHANG : 0);
            if (found == pid_) return true;
            if (found < 0 && errno != EINTR) return false;
            if (!when_blocked || std::chrono::steady_clock::now() < moment) {
                std::this_thread::yield();
                continue;
            }
            when_blocked();
            moment = std::chrono::steady_clock::now() + 10ms;
        }
    }
    void remember_end() {
        if (pid_ <= 0) return;
        end_ = WIFSIGNALED(status_) ? support::killed_by(WTERMSIG(status_))
                                    : support::exited(WEXITSTATUS(status_));
        pid_ = -1;
    }

    Grain grain_;
    pid_t pid_ = -1;
    int status_ = 0;
    Stop state_ = Stop::halted;
    std::uint64_t stops_ = 0;
    support::Ended end_;
};

/// Runs the operation again and again, killed at its first stop, its second, and so on until it
/// is over before the kill. `before` sets the scene, `after(stopper)` looks at what was left.
/// Returns the number of kill points.
template <class Before, class Prepare, class Operation, class After>
std::uint64_t kill_everywhere(Before&& before, Prepare&& prepare, Operation&& operation,
                              After&& after, const std::function<void()>& when_blocked = nullptr) {
    for (std::uint64_t stop = 1;; ++stop) {
        before();
        Stepper stepper{prepare, operation};
        const bool over = stepper.step_to(stop, when_blocked) != Stop::halted;
        const std::string where =
            over ? "after the end" : "stop " + std::to_string(stop) + ", " + stepper.where();
        const auto end = over && stepper.state() == Stop::done ? stepper.finish() : stepper.kill();
        INFO("killed at " << where);
        REQUIRE(end == (over ? support::exited(0) : support::killed_by(SIGKILL)));
        after(over);
        if (over) return stop - 1;
    }
}

}  // namespace rig
