// stepper.hpp: a process that is halted at every system call, or after every instruction, of one
// operation, to be killed there or to be stepped against another one.
//
// One thread is traced: the one that runs the operation. The others, a keeper for one, run free. A
// kill at a stop ends the whole process before the system call it enters, right after the one it
// leaves, or between two instructions.
#pragma once

#include <elf.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

#include <chrono>
#include <cstddef>
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
enum class Traced {
    main,
    second,  // a thread of its own runs the operation; its end belongs to the operation
};

/// Called while the operation sleeps in the kernel, once a moment.
using WhenBlocked = std::function<void()>;

class Stepper {
public:
    /// A forked process that runs `prepare`, halts, and then runs `operation(prepared)`.
    template <class Prepare, class Operation>
    Stepper(Prepare&& prepare, Operation&& operation, Grain grain = Grain::call,
            Traced traced = Traced::main)
        : grain_{grain}, traced_{traced} {
        std::fflush(nullptr);
        pid_ = ::fork();
        if (pid_ == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            support::end_with([&] { return be_stepped(prepare, operation); });
        }
        support::wait_until([&] { return *tid_ != 0 || has_ended(); });
        thread_ = *tid_;
        if (thread_ == 0 || !wait() || !WIFSTOPPED(status_) || WSTOPSIG(status_) != SIGSTOP) {
            state_ = Stop::ended;
            return;
        }
        const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL;
        ::ptrace(PTRACE_SETOPTIONS, thread_, nullptr, options);
    }
    Stepper(const Stepper&) = delete;
    Stepper& operator=(const Stepper&) = delete;
    ~Stepper() { (void)kill(); }

    [[nodiscard]] pid_t pid() const { return pid_; }
    [[nodiscard]] Stop state() const { return state_; }
    /// Stops so far.
    [[nodiscard]] std::uint64_t stops() const { return stops_; }
    [[nodiscard]] const support::Ended& end() const { return end_; }
    /// Left in a sleep: it has not stopped since it was last set going.
    [[nodiscard]] bool asleep() const { return asleep_; }
    /// False before the operation's first instruction and after its last one.
    [[nodiscard]] bool running() const { return *running_; }

    /// On to the next stop.
    Stop step(const WhenBlocked& when_blocked = nullptr) {
        return go(grain_ == Grain::call ? PTRACE_SYSCALL : PTRACE_SINGLESTEP, when_blocked);
    }
    /// As step, but leaves the operation in its sleep once `enough` says so.
    Stop step_or_sleep(const WhenBlocked& when_blocked, const bool* enough) {
        return go(PTRACE_SINGLESTEP, when_blocked, enough);
    }
    /// On to the stop of that number, or the end.
    Stop step_to(std::uint64_t stop, const WhenBlocked& when_blocked = nullptr) {
        while (state_ == Stop::halted && stops_ < stop) step(when_blocked);
        return state_;
    }
    /// On until the instruction at `address` is the next one, for the `arrivals`-th time. By a
    /// breakpoint of the CPU, which concerns this thread only; step by step where there is none.
    /// Leaves the operation in a sleep once `enough` says so.
    Stop run_to(std::uintptr_t address, std::uint64_t arrivals,
                const WhenBlocked& when_blocked = nullptr, const bool* enough = nullptr) {
        std::uintptr_t before = next_instruction();
        if (before == address) step(when_blocked);  // or the breakpoint would be hit on the spot
        const bool fast = set_breakpoint(address);
        while (arrivals > 0 && state_ == Stop::halted && !asleep_) {
            go(fast ? PTRACE_CONT : PTRACE_SINGLESTEP, when_blocked, enough);
            const std::uintptr_t now = next_instruction();
            if (now == address && (fast || now != before)) --arrivals;
            before = now;
        }
        if (fast && !asleep_) set_breakpoint(0);
        return state_;
    }
    /// On without a stop, until it sleeps in the kernel for longer than a moment, or is over.
    bool run_until_asleep() {
        bool asleep = false;
        while (state_ == Stop::halted && !asleep) {
            go(
                PTRACE_CONT, [&] { asleep = true; }, &asleep);
        }
        return asleep;
    }
    /// On without a stop to the operation's end.
    Stop run_on(const WhenBlocked& when_blocked = nullptr) {
        while (state_ == Stop::halted) go(PTRACE_CONT, when_blocked);
        return state_;
    }
    /// On until it is over, or has begun `naps` sleeps: then it waits for somebody who is halted.
    Stop run(int naps = 4) {
        while (state_ == Stop::halted && naps > 0) {
            if (step() != Stop::halted) break;
            __ptrace_syscall_info info{};
            if (::ptrace(PTRACE_GET_SYSCALL_INFO, thread_, sizeof info, &info) > 0 &&
                info.op == PTRACE_SYSCALL_INFO_ENTRY && info.entry.nr == SYS_clock_nanosleep) {
                --naps;
            }
        }
        return state_;
    }

    /// Where the next instruction lies; 0 when there is none.
    [[nodiscard]] std::uintptr_t next_instruction() const { return registers().first; }
    /// That, and the number of the system call that it would make.
    [[nodiscard]] std::pair<std::uintptr_t, long> registers() const {
        user_regs_struct all{};
        iovec into{&all, sizeof all};
        if (state_ != Stop::halted ||
            ::ptrace(PTRACE_GETREGSET, thread_, NT_PRSTATUS, &into) != 0) {
            return {0, -1};
        }
#if defined(__x86_64__)
        return {all.rip, static_cast<long>(all.rax)};
#elif defined(__aarch64__)
        return {all.pc, static_cast<long>(all.regs[8])};
#endif
    }
    /// Does the instruction at `address` enter the kernel?
    [[nodiscard]] bool is_system_call(std::uintptr_t address) const {
        std::uint32_t code = 0;
        iovec here{&code, 2};
        iovec there{reinterpret_cast<void*>(address), 2};
#if defined(__x86_64__)
        constexpr std::uint32_t system_call = 0x050f;
#elif defined(__aarch64__)
        constexpr std::uint32_t system_call = 0xd4000001;
        here.iov_len = there.iov_len = 4;
#endif
        return ::process_vm_readv(pid_, &here, 1, &there, 1, 0) > 0 && code == system_call;
    }

    /// At a stop, also one that no call here has waited for yet.
    [[nodiscard]] bool is_halted() const { return is_in_state('t'); }

    /// "entry of system call 257", for a failing test's message.
    [[nodiscard]] std::string where() const {
        __ptrace_syscall_info info{};
        if (state_ != Stop::halted ||
            ::ptrace(PTRACE_GET_SYSCALL_INFO, thread_, sizeof info, &info) <= 0) {
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
            collect();
        }
        return end_;
    }
    /// Lets the process go on by itself, to its end.
    support::Ended finish() {
        if (traced_ == Traced::second) return kill();  // it has nothing more to do
        if (pid_ > 0) {
            do {
                // The stops at the operation's end are ours, and every other signal its own.
                const int signal = WIFSTOPPED(status_) ? WSTOPSIG(status_) & 0x7f : 0;
                const bool ours = signal == SIGSTOP || signal == SIGTRAP;
                ::ptrace(PTRACE_CONT, thread_, nullptr, ours ? 0 : signal);
                if (!wait()) break;
            } while (WIFSTOPPED(status_));
            remember_end();
        }
        return end_;
    }

private:
    /// In the process: all of its life.
    template <class Prepare, class Operation>
    int be_stepped(Prepare& prepare, Operation& operation) {
        auto prepared = prepare();
        const auto operate = [&] {
            if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) ::_exit(97);
            *tid_ = static_cast<pid_t>(::syscall(SYS_gettid));
            ::raise(SIGSTOP);
            *running_ = true;
            operation(prepared);
            if (traced_ == Traced::second) return;
            *running_ = false;
            ::raise(SIGSTOP);
            ::_exit(0);
        };
        if (traced_ == Traced::main) operate();
        std::thread{operate}.join();
        for (;;) ::pause();
    }

    Stop go(__ptrace_request how, const WhenBlocked& when_blocked, const bool* enough = nullptr) {
        if (state_ != Stop::halted) return state_;
        for (int signal = 0;;) {
            if (!asleep_ && ::ptrace(how, thread_, nullptr, signal) != 0) {
                return state_ = Stop::ended;
            }
            asleep_ = false;
            if (!wait(when_blocked, enough)) {
                asleep_ = enough != nullptr && *enough;
                return asleep_ ? state_ : state_ = Stop::ended;
            }
            if (!WIFSTOPPED(status_)) {
                if (traced_ == Traced::second && WIFEXITED(status_)) return state_ = Stop::done;
                remember_end();
                return state_;
            }
            const int stopped_by = WSTOPSIG(status_);
            if (stopped_by == SIGSTOP) return state_ = Stop::done;
            if (stopped_by == (SIGTRAP | 0x80) || stopped_by == SIGTRAP) {
                ++stops_;
                return Stop::halted;
            }
            signal = stopped_by;  // the process's own affair
        }
    }
    /// For the traced thread's next stop or end.
    bool wait(const WhenBlocked& when_blocked = nullptr, const bool* enough = nullptr) {
        using namespace std::chrono_literals;
        auto moment = std::chrono::steady_clock::now() + 2ms;
        for (int seen_asleep = 0;;) {
            const pid_t found = ::waitpid(thread_, &status_, __WALL | (when_blocked ? WNOHANG : 0));
            if (found == thread_) return true;
            if (found < 0 && errno != EINTR) return false;
            if (!when_blocked || std::chrono::steady_clock::now() < moment) {
                std::this_thread::yield();
                continue;
            }
            seen_asleep = is_asleep() ? seen_asleep + 1 : 0;
            if (seen_asleep >= 2) when_blocked();
            if (enough != nullptr && *enough) return false;
            moment = std::chrono::steady_clock::now() + 2ms;
        }
    }
    [[nodiscard]] bool is_asleep() const { return is_in_state('S'); }
    /// As in the kernel's list of processes.
    [[nodiscard]] bool is_in_state(char letter) const {
        const std::string path = "/proc/" + std::to_string(thread_) + "/stat";
        char text[256] = {};
        const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
        if (fd < 0) return false;
        const ssize_t got = ::read(fd, text, sizeof text - 1);
        ::close(fd);
        const std::string line{text, got > 0 ? static_cast<std::size_t>(got) : 0};
        const auto name_end = line.rfind(')');
        return name_end != std::string::npos &&
               line.compare(name_end, 3, std::string{") "} + letter) == 0;
    }
    [[nodiscard]] bool has_ended() const {
        siginfo_t info{};
        return ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
               info.si_pid == pid_;
    }
    /// False where this CPU or kernel has none for us. 0: away with it.
    bool set_breakpoint([[maybe_unused]] std::uintptr_t address) const {
#if defined(__x86_64__)
        const auto debug_register = [](int number) {
            return offsetof(user, u_debugreg) + static_cast<std::size_t>(number) * 8;
        };
        return ::ptrace(PTRACE_POKEUSER, thread_, debug_register(7), 0) == 0 &&
               ::ptrace(PTRACE_POKEUSER, thread_, debug_register(0), address) == 0 &&
               ::ptrace(PTRACE_POKEUSER, thread_, debug_register(7), address != 0 ? 1 : 0) == 0;
#else
        return false;
#endif
    }
    /// The process has been killed.
    void collect() {
        if (thread_ != pid_ && thread_ > 0) {
            while (::waitpid(thread_, &status_, __WALL) == thread_ && WIFSTOPPED(status_)) {
            }
        }
        do {
            if (::waitpid(pid_, &status_, 0) != pid_ && errno != EINTR) break;
        } while (WIFSTOPPED(status_));
        remember_end();
    }
    void remember_end() {
        if (pid_ <= 0) return;
        end_ = WIFSIGNALED(status_) ? support::killed_by(WTERMSIG(status_))
                                    : support::exited(WEXITSTATUS(status_));
        pid_ = -1;
        state_ = Stop::ended;
    }

    Grain grain_;
    Traced traced_;
    support::Shared<std::atomic<pid_t>> tid_;
    support::Shared<std::atomic<bool>> running_;
    pid_t pid_ = -1;
    pid_t thread_ = 0;
    int status_ = 0;
    Stop state_ = Stop::halted;
    bool asleep_ = false;
    std::uint64_t stops_ = 0;
    support::Ended end_;
};

}  // namespace rig
