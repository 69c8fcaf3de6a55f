// counter_perf.cpp: the counters beside the bare instruction.
//
// Every participant adds one to the same counter. `plain add` is a load and a store on a cache
// line of the participant's own: what a stripe costs when nobody has to find it.
#include <memory>
#include <string>

#include <lagoon/arena.hpp>
#include <lagoon/counter.hpp>
#include <lagoon/detail/atomic.hpp>
#include <lagoon/sharded_counter.hpp>

#include "support/harness.hpp"
#include "support/stage.hpp"

namespace lagoon_perf {
namespace {

struct Counters {
    lagoon::Counter plain{"plain"};
    lagoon::ShardedCounter sharded{"sharded"};
};

using Word = lagoon::detail::Atomic<std::int64_t>;

/// A case that runs `step` again and again.
template <class Step>
Case repeated(Stage& stage, const std::string& subject, Step step) {
    return {subject, "add", [&stage, step](std::uint64_t operations) {
                return stage.timed([&] {
                    for (std::uint64_t n = 0; n < operations; ++n) step();
                    return std::uint64_t{0};
                });
            }};
}

void build(Stage& stage, Plan& plan) {
    Word& word = stage.place<Word>();
    Word* stripes = stage.array<Word>(std::size_t{8} * max_participants);
    Word& own = stripes[std::size_t{8} * stage.participant()];
    const std::string name = stage.next_name();
    auto arena = std::make_shared<lagoon::Arena<Counters>>(
        stage.is_creator() ? lagoon::Arena<Counters>::create(name)
                           : lagoon::Arena<Counters>::open(name));
    plan.cases.push_back(repeated(stage, "bare fetch_add", [&word] {
        // N1 relaxed RMW, no pair: only its cost matters.
        word.fetch_add(1, std::memory_order_relaxed);
    }));
    lagoon::Counter& plain = (*arena)->plain;
    plan.cases.push_back(repeated(stage, "lagoon::Counter", [arena, &plain] { plain.add(); }));
    lagoon::ShardedCounter& sharded = (*arena)->sharded;
    plan.cases.push_back(
        repeated(stage, "lagoon::ShardedCounter", [arena, &sharded] { sharded.add(); }));
    plan.cases.push_back(repeated(stage, "plain add", [&own] {
        // N2 relaxed load, no pair: nobody else touches this word.
        const std::int64_t before = own.load(std::memory_order_relaxed);
        // N3 relaxed store, no pair: as N2.
        own.store(before + 1, std::memory_order_relaxed);
    }));
    plan.compare_all_to("add", "bare fetch_add");
    if (stage.participants() > 1) return;
    for (Ratio& ratio : plan.ratios) {
        if (ratio.subject == "lagoon::ShardedCounter") ratio.at_most = 0.4;
    }
}

}  // namespace
}  // namespace lagoon_perf

int main(int argc, char** argv) {
    using namespace lagoon_perf;
    return run_program({.name = "counter_perf",
                        .suites = {{"one_process", 1, build}, {"two_processes", 2, build}},
                        .facts = {}},
                       argc, argv);
}
