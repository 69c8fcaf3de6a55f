// latency_perf.cpp: how long single operations take, to p99.99 and the longest.
//
// one_process, two_processes: a slot is taken and given back, again and again, each pair timed by
// two reads of the processor's counter; the empty loop has only these reads, so what it shows is
// the machine: interrupts, other programs, the host.
//
// open_loop: arrivals come at random times (exponential gaps) that do not wait for the one before;
// each takes a slot, holds it for a microsecond, and gives it back. The time told is from the
// intended arrival to the slot, so whoever falls behind is charged for all that came meanwhile.
#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "peers/blocking.hpp"
#include "peers/subjects.hpp"
#include "support/harness.hpp"
#include "support/patterns.hpp"
#include "support/ticks.hpp"

namespace lagoon_perf {
namespace {

constexpr const char* empty_name = "empty loop (hiccups)";
constexpr const char* pair_pattern = "pair";
constexpr const char* waiting_name = "lagoon::Pool, waiting";

/// Stands for a pool in the empty loop.
struct Nothing {
    struct Held {};
    Nothing(Stage&, std::uint32_t) {}
    Held take() { return {}; }
    bool has(Held) const { return true; }
    const void* address(Held) const { return this; }
    void leave(Held) {}
};

/// Takes by the waiting form.
template <class Subject>
struct Waiting : Subject {
    using Subject::Subject;
    typename Subject::Held take() { return Subject::wait(); }
};

/// A case in which `act(histogram)` times its operations and returns misses; told is the median.
template <class Act>
Case timed_case(Stage& stage, const std::string& name, const std::string& pattern,
                std::uint64_t max_operations, Act act) {
    auto* histograms = stage.array<Histogram>(stage.participants());
    Case one{name, pattern, [&stage, histograms, act](std::uint64_t operations) {
                 auto sample = std::make_unique<Histogram>();
                 Interval interval = stage.timed([&] { return act(operations, *sample); });
                 histograms[stage.participant()].add(*sample);
                 interval.per_operation_ns =
                     std::max(static_cast<double>(sample->quantile_ns(0.5)), 1.0);
                 return interval;
             }};
    one.max_operations = max_operations;
    for (unsigned n = 0; n < stage.participants(); ++n) one.latencies.push_back(histograms + n);
    return one;
}

template <class Subject>
Case pair_case(Stage& stage, const std::string& name) {
    auto subject = std::make_shared<Subject>(stage, 64);
    return timed_case(stage, name, pair_pattern, 20'000,
                      [subject](std::uint64_t operations, Histogram& sample) {
                          std::uint64_t misses = 0;
                          for (std::uint64_t n = 0; n < operations; ++n) {
                              const std::uint64_t begin = ticks();
                              {
                                  typename Subject::Held held = subject->take();
                                  if (!subject->has(held)) ++misses;
                                  keep(subject->address(held));
                                  subject->leave(held);
                              }
                              sample.add(in_ns(ticks() - begin));
                          }
                          return misses;
                      });
}

void build_pairs(Stage& stage, Plan& plan) {
    static_cast<void>(ns_per_tick());
    skip_absent_types(plan);
    plan.cases.push_back(pair_case<Nothing>(stage, empty_name));
    for_few_subjects([&]<class Subject>(const std::string& name) {
        plan.cases.push_back(pair_case<Subject>(stage, name));
    });
    plan.skipped.push_back({dpdk_name, "its loop is timed as a whole only, in pool_perf"});
    plan.compare_all_to(pair_pattern, empty_name);
}

/// When arrivals are meant to come, in ticks from the start of a sample.
class Schedule {
public:
    Schedule(unsigned participant, double mean_gap_ns) : due_(max_arrivals) {
        std::mt19937 source(99U + participant);
        std::exponential_distribution<double> gap(1 / mean_gap_ns);
        double at_ns = 10'000;
        for (std::uint64_t& due : due_) {
            at_ns += gap(source);
            due = static_cast<std::uint64_t>(at_ns / ns_per_tick());
        }
    }
    std::uint64_t operator[](std::uint64_t n) const { return due_[n % due_.size()]; }
    static constexpr std::size_t max_arrivals = 2000;

private:
    std::vector<std::uint64_t> due_;
};

struct Load {
    const char* pattern;
    std::uint32_t slots;
    double mean_gap_ns;  // per process
};
constexpr double hold_ns = 1000;
constexpr Load loads[] = {{"open loop, 64 slots", 64, 4000},
                          {"open loop, 1 slot half used", 1, 4000},
                          {"open loop, 1 slot used to 80 %", 1, 2500}};

template <class Subject>
std::uint64_t arrive(Subject& subject, std::uint64_t due) {
    for (;;) {
        typename Subject::Held held = subject.take();
        if (!subject.has(held)) {
            lagoon::detail::cpu_relax();
            continue;
        }
        const std::uint64_t had = ticks();
        keep(subject.address(held));
        const auto until = had + static_cast<std::uint64_t>(hold_ns / ns_per_tick());
        while (ticks() < until) {
        }
        subject.leave(held);
        return in_ns(had - due);
    }
}

template <class Subject>
void add_open_loop(Stage& stage, Plan& plan, const std::string& name) {
    for (const Load& load : loads) {
        auto subject = std::make_shared<Subject>(stage, load.slots);
        auto schedule = std::make_shared<Schedule>(stage.participant(), load.mean_gap_ns);
        plan.cases.push_back(
            timed_case(stage, name, load.pattern, Schedule::max_arrivals,
                       [subject, schedule](std::uint64_t operations, Histogram& sample) {
                           const std::uint64_t begin = ticks();
                           for (std::uint64_t n = 0; n < operations; ++n) {
                               const std::uint64_t due = begin + (*schedule)[n];
                               while (ticks() < due) lagoon::detail::cpu_relax();
                               sample.add(arrive(*subject, due));
                           }
                           return std::uint64_t{0};
                       }));
        plan.cases.back().latencies_are = "from the intended arrival to the slot";
    }
}

void build_open_loop(Stage& stage, Plan& plan) {
    skip_absent_types(plan);
    add_open_loop<Nothing>(stage, plan, empty_name);
    for_few_subjects(
        [&]<class Subject>(const std::string& name) { add_open_loop<Subject>(stage, plan, name); });
    add_open_loop<Waiting<LagoonPool>>(stage, plan, waiting_name);
    add_open_loop<Waiting<Blocking<BoostStack>>>(stage, plan, blocking_name);
    for (const Load& load : loads) plan.compare_all_to(load.pattern, empty_name);
}

}  // namespace
}  // namespace lagoon_perf

int main(int argc, char** argv) {
    using namespace lagoon_perf;
    return run_program({.name = "latency_perf",
                        .suites = {{"one_process", 1, build_pairs},
                                   {"two_processes", 2, build_pairs},
                                   {"open_loop", 2, build_open_loop}},
                        .facts = {}},
                       argc, argv);
}
