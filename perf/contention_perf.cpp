// contention_perf.cpp: one slot between two processes, and many processes on few cores.
//
// Hand-over: two processes take turns, which a word on a cache line of its own tells them, so every
// acquisition takes what the other has just given back. The ping-pong is the same without a pool:
// the word alone goes to and fro. One step is a turn of one process. "Fought over" has no turns:
// both try as fast as they can, and what is told is the time per success, most of which are not
// hand-overs.
//
// Crowd: N processes, N mod 2 on each of two cores, 16 slots, each takes one and gives it back
// through the waiting form; times are per pair of the whole system. They draw their pairs from one
// number in shared memory, so all of them are there to the end. Where the pool is a peer's, a
// semaphore in shared memory stands before it.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "peers/blocking.hpp"
#include "peers/subjects.hpp"
#include "support/harness.hpp"
#include "support/patterns.hpp"
#include "support/ticks.hpp"

namespace lagoon_perf {
namespace {

constexpr const char* turns_pattern = "1 slot, hand-over";
constexpr const char* ping_pong_name = "ping-pong of a cache line";

/// Whose turn it is, on a line of its own.
struct alignas(64) Turn {
    lagoon::detail::Atomic<std::uint32_t> word{0};
};

/// Takes turns with the other process; `act` is what one does in one's turn.
template <class Act>
Interval take_turns(Stage& stage, Turn& turn, std::uint64_t steps, Act act) {
    const std::uint32_t me = stage.participant();
    return stage.timed([&] {
        std::uint64_t misses = 0;
        for (std::uint64_t n = 0; n < steps; ++n) {
            // T1 acquire load <- T2.
            while (turn.word.load(std::memory_order_acquire) != me) lagoon::detail::cpu_relax();
            misses += act();
            // T2 release store -> T1.
            turn.word.store(1 - me, std::memory_order_release);
        }
        return misses;
    });
}

/// Takes the one slot as soon as it is there.
template <class Subject>
std::uint64_t take_and_leave(Subject& subject) {
    for (;;) {
        typename Subject::Held held = subject.take();
        if (!subject.has(held)) {
            lagoon::detail::cpu_relax();
            continue;
        }
        keep(subject.address(held));
        subject.leave(held);
        return 0;
    }
}

void build_hand_over(Stage& stage, Plan& plan) {
    skip_absent_types(plan);
    Turn& bare = stage.place<Turn>();
    plan.cases.push_back({ping_pong_name, turns_pattern, [&stage, &bare](std::uint64_t steps) {
                              return take_turns(stage, bare, steps,
                                                [] { return std::uint64_t{0}; });
                          }});
    for_few_subjects([&]<class Subject>(const std::string& name) {
        auto subject = std::make_shared<Subject>(stage, 1);
        Turn& turn = stage.place<Turn>();
        plan.cases.push_back({name, turns_pattern, [&stage, &turn, subject](std::uint64_t steps) {
                                  return take_turns(stage, turn, steps,
                                                    [&] { return take_and_leave(*subject); });
                              }});
        plan.cases.push_back({name, "1 slot, fought over", [&stage, subject](std::uint64_t steps) {
                                  return stage.timed([&] {
                                      for (std::uint64_t n = 0; n < steps; ++n)
                                          take_and_leave(*subject);
                                      return std::uint64_t{0};
                                  });
                              }});
    });
    plan.compare_all_to(turns_pattern, ping_pong_name);
    plan.require({lagoon_name, turns_pattern, ping_pong_name, turns_pattern, 3.0});
    plan.require({lagoon_name, turns_pattern, loffli_name, turns_pattern, 1.0});
    plan.compare_all_to("1 slot, fought over", stack_name);
}

std::string crowd_of(unsigned active) {
    return "16 slots, " + std::to_string(active) + (active == 1 ? " process" : " processes");
}

/// How many pairs are still to be done, on a line of its own.
struct alignas(64) Work {
    lagoon::detail::Atomic<std::int64_t> left{0};
};

/// `pair` returns whether it found nothing; called `all` times by `active` processes together.
template <class Pair>
Interval share_work(Stage& stage, Work& work, unsigned active, std::uint64_t all, Pair pair) {
    const auto piece =
        static_cast<std::int64_t>(std::clamp<std::uint64_t>(all / active / 8, 1, 64));
    // T3 relaxed store, no pair: they meet behind it.
    if (stage.is_creator())
        work.left.store(static_cast<std::int64_t>(all), std::memory_order_relaxed);
    return stage.timed_among(active, [&] {
        std::uint64_t misses = 0;
        for (;;) {
            // T4 relaxed RMW, no pair: its value is what it is for.
            const std::int64_t left = work.left.fetch_sub(piece, std::memory_order_relaxed);
            if (left <= 0) return misses;
            for (std::int64_t n = std::min(left, piece); n > 0; --n) misses += pair();
        }
    });
}

/// Waiters who are served in their order form a convoy, in which a pair takes twenty times as long;
/// or they do not, in the short runs that tell how many pairs a sample has.
std::uint64_t most_pairs(const std::string& name, unsigned active) {
    return name == first_come_name && active > 16 ? 100'000 : Case{}.max_operations;
}

template <class Subject>
void add_crowd(Stage& stage, Plan& plan, const std::string& name) {
    auto subject = std::make_shared<Subject>(stage, 16);
    Work& work = stage.place<Work>();
    for (const unsigned active : {1U, 2U, 4U, 8U, 16U, 32U, 64U}) {
        plan.cases.push_back(
            {name, crowd_of(active), [&stage, &work, subject, active](std::uint64_t all) {
                 return share_work(stage, work, active, all, [&] {
                     typename Subject::Held held = subject->wait();
                     const bool missed = !subject->has(held);
                     keep(subject->address(held));
                     subject->leave(held);
                     return missed;
                 });
             }});
        plan.cases.back().max_operations = most_pairs(name, active);
    }
    for (const unsigned active : {8U, 64U}) {
        const double at_most = name == lagoon_name ? 1 / 0.9 : 0;
        plan.require({name, crowd_of(active), name, crowd_of(2), at_most});
    }
}

/// The same with every wait timed.
template <class Subject>
void add_clocked_crowd(Stage& stage, Plan& plan, const std::string& name) {
    auto subject = std::make_shared<Subject>(stage, 16);
    Work& work = stage.place<Work>();
    for (const unsigned active : {2U, 8U, 64U}) {
        auto* waits = stage.array<Histogram>(active);
        Case one{name, crowd_of(active) + ", every wait timed",
                 [&stage, &work, subject, active, waits](std::uint64_t all) {
                     return share_work(stage, work, active, all, [&] {
                         Histogram& own = waits[stage.participant()];
                         const std::uint64_t begin = ticks();
                         typename Subject::Held held = subject->wait();
                         own.add(in_ns(ticks() - begin));
                         const bool missed = !subject->has(held);
                         subject->leave(held);
                         return missed;
                     });
                 }};
        for (unsigned n = 0; n < active; ++n) one.latencies.push_back(waits + n);
        one.latencies_are = "waits for a slot";
        one.max_operations = most_pairs(name, active);
        plan.cases.push_back(one);
    }
}

void build_crowd(Stage& stage, Plan& plan) {
    if (!stage.quick()) static_cast<void>(ns_per_tick());
    add_crowd<LagoonPool>(stage, plan, lagoon_name);
    add_crowd<FirstComePool>(stage, plan, first_come_name);
    add_crowd<Blocking<BoostStack>>(stage, plan, blocking_name);
    add_clocked_crowd<LagoonPool>(stage, plan, lagoon_name);
    add_clocked_crowd<FirstComePool>(stage, plan, first_come_name);
    add_clocked_crowd<Blocking<BoostStack>>(stage, plan, blocking_name);
}

}  // namespace
}  // namespace lagoon_perf

int main(int argc, char** argv) {
    using namespace lagoon_perf;
    return run_program({.name = "contention_perf",
                        .suites = {{"hand_over", 2, build_hand_over},
                                   {.name = "crowd",
                                    .participants = max_participants,
                                    .build = build_crowd,
                                    .sample_ms = 150,
                                    .max_rounds = 10}},
                        .facts = {}},
                       argc, argv);
}
