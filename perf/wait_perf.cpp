// wait_perf.cpp: from giving back to the return of whoever sleeps for it.
//
// One process holds the only slot, the other one asks for it and falls asleep. The holder waits 100
// us, so that it sleeps indeed, tells the time and gives back; the waiter tells the time when it
// has the slot. The raw futex is the same with a store and FUTEX_WAKE. With both processes on one
// CPU the holder sleeps the 100 us, or the other could not fall asleep.
#include <algorithm>
#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include "peers/blocking.hpp"
#include "peers/subjects.hpp"
#include "support/environment.hpp"
#include "support/futex.hpp"
#include "support/harness.hpp"

namespace lagoon_perf {
namespace {

constexpr const char* wake_pattern = "release to return";
constexpr const char* futex_name = "raw futex";
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

void add(Stage& stage, Plan& plan, const std::string& name, const Parts& parts) {
    auto& exchange = stage.place<Exchange>();
    auto* histogram = stage.array<Histogram>(1);
    const bool on_one_cpu = stage.shares_cpu();
    Case one{name, wake_pattern,
             [&stage, &exchange, parts, histogram, on_one_cpu](std::uint64_t count) {
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

void build(Stage& stage, Plan& plan) {
    auto& bell = stage.place<Bell>();
    add(stage, plan, futex_name,
        {.hold = [] {},
         .release = [&bell](std::uint32_t turn) { bell.ring(turn); },
         .wait = [&bell](std::uint32_t turn) { bell.await(turn); },
         .leave = [] {}});
    add(stage, plan, lagoon_name, parts_of<LagoonPool>(stage));
    add(stage, plan, blocking_name, parts_of<Blocking<BoostStack>>(stage));
    plan.compare_all_to(wake_pattern, futex_name);
    plan.require({lagoon_name, wake_pattern, futex_name, wake_pattern, 1.3});
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
