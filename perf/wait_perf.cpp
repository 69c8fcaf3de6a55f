// wait_perf.cpp: from giving back to the return of whoever sleeps for it.
//
// One process holds the only slot, the other one asks for it and falls asleep. The holder waits 100
// us, so that it sleeps indeed, tells the time and gives back; the waiter tells the time when it
// has the slot. The raw futex is the same with a store and FUTEX_WAKE. With both processes on one
// CPU the holder sleeps the 100 us, or the other could not fall asleep.
//
// "Death to return": the holder is a process of its own that is killed instead. Beside it one that
// polls the holder's pidfd, which the kernel wakes last, when all that the process had is gone.
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "peers/blocking.hpp"
#include "peers/subjects.hpp"
#include "support/environment.hpp"
#include "support/futex.hpp"
#include "support/harness.hpp"
#include "support/patterns.hpp"

namespace lagoon_perf {
namespace {

constexpr const char* wake_pattern = "release to return";
constexpr const char* death_pattern = "death of the holder to return";
constexpr const char* large_death_pattern = "death of a holder of 48 MB to return";
constexpr const char* futex_name = "raw futex";
constexpr const char* pidfd_name = "poll of the holder's pidfd";
constexpr long long pause_ns = 100'000;

/// A number in shared memory that one process raises and the other sleeps for.
struct alignas(64) Bell {
    FutexWord word{0};

    void ring(std::uint32_t value) {
        // F1 release store -> F2.
        word.store(value, std::memory_order_release);
        futex_wake(word, 1);
    }
    void await(std::uint32_t value) {
        for (;;) {
            // F2 acquire load <- F1.
            const std::uint32_t seen = word.load(std::memory_order_acquire);
            if (seen == value) return;
            futex_sleep(word, seen);
        }
    }
};

/// What the two processes of a case share beside the subject.
struct Exchange {
    Bell ready;                     // the waiter is about to wait
    Bell done;                      // the waiter has had it and has given it back
    alignas(64) long long told_ns;  // when the holder gave back
    std::uint32_t turns = 0;        // so far; the holder's
};

void let_it_fall_asleep(bool on_one_cpu) {
    if (on_one_cpu) {
        constexpr timespec pause{.tv_sec = 0, .tv_nsec = pause_ns};
        nanosleep(&pause, nullptr);
        return;
    }
    const long long until_ns = now_ns() + pause_ns;
    while (now_ns() < until_ns) lagoon::detail::cpu_relax();
}

/// `hold` and `release` are the holder's, `wait` and `leave` the waiter's part of one turn.
struct Parts {
    std::function<void()> hold;
    std::function<void(std::uint32_t turn)> release;
    std::function<void(std::uint32_t turn)> wait;
    std::function<void()> leave;
};

Interval hold_turns(Exchange& exchange, const Parts& parts, std::uint64_t count, bool on_one_cpu) {
    for (std::uint64_t n = 0; n < count; ++n) {
        const std::uint32_t turn = ++exchange.turns;
        parts.hold();
        exchange.done.ring(2 * turn - 1);
        exchange.ready.await(turn);
        let_it_fall_asleep(on_one_cpu);
        exchange.told_ns = now_ns();
        parts.release(turn);
        exchange.done.await(2 * turn);
    }
    return {};
}

Interval wait_turns(Exchange& exchange, const Parts& parts, std::uint64_t count,
                    std::uint32_t first, Histogram& histogram) {
    std::vector<long long> latencies_ns;
    for (std::uint64_t n = 0; n < count; ++n) {
        const std::uint32_t turn = first + static_cast<std::uint32_t>(n);
        exchange.done.await(2 * turn - 1);
        exchange.ready.ring(turn);
        parts.wait(turn);
        latencies_ns.push_back(now_ns() - exchange.told_ns);
        histogram.add(static_cast<std::uint64_t>(latencies_ns.back()));
        parts.leave();
        exchange.done.ring(2 * turn);
    }
    const auto middle = latencies_ns.begin() + static_cast<std::ptrdiff_t>(latencies_ns.size() / 2);
    std::nth_element(latencies_ns.begin(), middle, latencies_ns.end());
    Interval interval{.begin_ns = 1, .end_ns = 2};
    interval.per_operation_ns = std::max(static_cast<double>(*middle), 1.0);
    return interval;
}

void add(Stage& stage, Plan& plan, const std::string& name, const char* pattern,
         const Parts& parts) {
    auto& exchange = stage.place<Exchange>();
    auto* histogram = stage.array<Histogram>(1);
    const bool on_one_cpu = stage.shares_cpu();
    Case one{name, pattern, [&stage, &exchange, parts, histogram, on_one_cpu](std::uint64_t count) {
                 const std::uint32_t first = exchange.turns + 1;
                 stage.meet();  // both have read `turns`
                 return stage.is_creator() ? hold_turns(exchange, parts, count, on_one_cpu)
                                           : wait_turns(exchange, parts, count, first, *histogram);
             }};
    one.max_operations = 8;
    one.latencies.push_back(histogram);
    plan.cases.push_back(one);
}

template <class Subject>
Parts parts_of(Stage& stage) {
    auto subject = std::make_shared<Subject>(stage, 1);
    auto held = std::make_shared<typename Subject::Held>();
    return {.hold = [subject, held] { *held = subject->wait(); },
            .release = [subject, held](std::uint32_t) { subject->give(*held); },
            .wait = [subject, held](std::uint32_t) { *held = subject->wait(); },
            .leave = [subject, held] { subject->give(*held); }};
}

/// A process that holds the only slot until it is killed.
struct Victim {
    Bell holds;
    pid_t pid = 0;  // its parent writes it

    template <class Subject>
    void start(Subject& subject, std::uint32_t turn, std::size_t bytes) {
        end();
        const pid_t child = ::fork();
        if (child < 0) throw std::system_error(errno, std::system_category(), "fork");
        if (child == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            const std::vector<char> touched(bytes, 'x');
            keep(touched.data());
            const auto held = subject.wait();
            holds.ring(turn);
            for (;;) ::pause();
        }
        holds.await(turn);
        pid = child;
    }
    void kill() { ::kill(pid, SIGKILL); }
    /// By its parent.
    void end() {
        if (pid == 0) return;
        ::kill(pid, SIGKILL);
        ::waitpid(pid, nullptr, 0);
        pid = 0;
    }
    void await_end() const {
        const auto fd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
        if (fd < 0) throw std::system_error(errno, std::system_category(), "pidfd_open");
        pollfd one{fd, POLLIN, 0};
        while (::poll(&one, 1, -1) != 1) {
        }
        ::close(fd);
    }
};

/// `polls`: who waits for the slot polls the holder's pidfd first.
Parts parts_of_death(Stage& stage, bool polls, std::size_t bytes) {
    auto subject = std::make_shared<LagoonPool>(stage, 1);
    auto& victim = stage.place<Victim>();
    // The last one is killed where no turn comes any more.
    auto ended = std::shared_ptr<void>{nullptr, [&stage, &victim](void*) {
                                           if (stage.is_creator()) victim.end();
                                       }};
    auto turns = std::make_shared<std::uint32_t>(0);
    return {.hold = [subject, &victim, turns, ended,
                     bytes] { victim.start(*subject, ++*turns, bytes); },
            .release = [&victim](std::uint32_t) { victim.kill(); },
            .wait =
                [subject, &victim, polls](std::uint32_t) {
                    if (polls) {
                        victim.await_end();
                    } else {
                        (void)subject->wait();
                    }
                },
            // What is dead by now is repaired here at the latest.
            .leave = [subject] { (void)subject->wait(); }};
}

void build(Stage& stage, Plan& plan) {
    auto& bell = stage.place<Bell>();
    add(stage, plan, futex_name, wake_pattern,
        {.hold = [] {},
         .release = [&bell](std::uint32_t turn) { bell.ring(turn); },
         .wait = [&bell](std::uint32_t turn) { bell.await(turn); },
         .leave = [] {}});
    add(stage, plan, lagoon_name, wake_pattern, parts_of<LagoonPool>(stage));
    add(stage, plan, first_come_name, wake_pattern, parts_of<FirstComePool>(stage));
    add(stage, plan, blocking_name, wake_pattern, parts_of<Blocking<BoostStack>>(stage));
    plan.compare_all_to(wake_pattern, futex_name);
    plan.require({lagoon_name, wake_pattern, futex_name, wake_pattern, 1.3});
    for (const bool large : {false, true}) {
        const char* pattern = large ? large_death_pattern : death_pattern;
        const std::size_t bytes = large ? std::size_t{48} << 20 : 0;
        add(stage, plan, lagoon_name, pattern, parts_of_death(stage, false, bytes));
        add(stage, plan, pidfd_name, pattern, parts_of_death(stage, true, bytes));
        plan.require({lagoon_name, pattern, pidfd_name, pattern, 1.0});
    }
}

}  // namespace
}  // namespace lagoon_perf

int main(int argc, char** argv) {
    using namespace lagoon_perf;
    return run_program(
        {.name = "wait_perf",
         .suites = {{"two_cores", 2, build},
                    {.name = "one_core", .participants = 2, .build = build, .shares_cpu = true}},
         .facts = {}},
        argc, argv);
}
