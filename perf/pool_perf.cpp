// pool_perf.cpp: taking a resource and giving it back, beside what else could hold a free-list.
//
// Patterns:
//   own slot again       take one, give it back (64 slots)
//   64 held              64 taken (of 256); each step gives back a random one and takes another
//   3686 of 4096 held    the same with nine tenths of the slots taken
//   ..., take first      the same, taking before giving back, so that a last-in-first-out pool
//                        cannot hand out the very slot that was just returned
// With two processes each has half of what is held, and both use one pool. A step of the whole
// system takes half of the time told per process then, for every subject alike.
#include <memory>
#include <string>
#include <utility>

#include "peers/manager_list.hpp"
#include "peers/subjects.hpp"
#include "support/environment.hpp"
#include "support/harness.hpp"
#include "support/patterns.hpp"

namespace lagoon_perf {
namespace {

constexpr const char* own_pattern = "own slot again";

struct Held {
    std::string pattern;
    std::uint32_t capacity_slots = 0;
    std::size_t held_count = 0;  // by all processes together
};

const Held all_held[] = {{"64 held", 256, 64}, {"3686 of 4096 held", 4096, 3686}};

template <class Subject>
void add_held(Stage& stage, Plan& plan, const std::string& name, const Held& held) {
    auto subject = std::make_shared<Subject>(stage, held.capacity_slots);
    plan.cases.push_back(
        swap_case<Order::give_then_take>(stage, subject, name, held.pattern, held.held_count));
    plan.cases.push_back(swap_case<Order::take_then_give>(
        stage, subject, name, held.pattern + ", take first", held.held_count));
}

void add_dpdk(Stage& stage, Plan& plan) {
    const std::string why_not = why_no_dpdk(stage);
    if (!why_not.empty()) {
        plan.skipped.push_back({dpdk_name, why_not});
        return;
    }
    plan.cases.push_back(dpdk_own_again(stage, own_pattern, 64));
    for (const Held& held : all_held) {
        plan.cases.push_back(dpdk_swap_random(stage, held.pattern, held.capacity_slots,
                                              held.held_count, Order::give_then_take));
        plan.cases.push_back(dpdk_swap_random(stage, held.pattern + ", take first",
                                              held.capacity_slots, held.held_count,
                                              Order::take_then_give));
    }
}

void add_manager(Stage& stage, Plan& plan) {
    if (stage.participants() > 1) return;
    auto list = std::make_shared<ManagerList>(64);
    if (!list->why_not().empty()) {
        plan.skipped.push_back({manager_name, list->why_not()});
        return;
    }
    plan.cases.push_back({manager_name, own_pattern, [list](std::uint64_t pairs) {
                              Interval interval{.begin_ns = now_ns()};
                              interval.end_ns = interval.begin_ns + list->pairs(pairs);
                              return interval;
                          }});
}

void require(const Stage& stage, Plan& plan) {
    const auto own = [&](const std::string& peer, double at_most, double aim) {
        plan.require({lagoon_name, own_pattern, peer, own_pattern, at_most, aim});
    };
    const bool alone = stage.participants() == 1;
    for (const Held& held : all_held) {
        for (const char* order : {"", ", take first"}) {
            plan.require({lagoon_name, held.pattern + order, lagoon_name, own_pattern,
                          alone ? 2.0 : 0, alone ? 1.3 : 0});
        }
    }
    plan.require({clocked_name, own_pattern, lagoon_name, own_pattern, 0, 0});
    if (!has_membarrier()) {
        if (alone) own(stack_name, 0.50, 0);
        return;
    }
    own(dpdk_name, 0.7, 0.4);
    if (!alone) return;
    own(loffli_name, 0.11, 0.07);
    own(stack_name, 0.08, 0.05);
    own(manager_name, 1e-4, 0.5e-4);
}

void build(Stage& stage, Plan& plan) {
    skip_absent_types(plan);
    for_each_subject([&]<class Subject>(const std::string& name) {
        plan.cases.push_back(own_case<Subject>(stage, name, own_pattern, 64));
    });
    plan.cases.push_back(own_case<BareClaim>(stage, claim_name, own_pattern, 64));
    plan.cases.push_back(own_case<ClockedPool>(stage, clocked_name, own_pattern, 64));
    for (const Held& held : all_held) {
        for_each_subject([&]<class Subject>(const std::string& name) {
            add_held<Subject>(stage, plan, name, held);
        });
    }
    add_dpdk(stage, plan);
    add_manager(stage, plan);
    plan.compare_all_to(own_pattern, stack_name);
    for (const Held& held : all_held) {
        plan.compare_all_to(held.pattern, stack_name);
        plan.compare_all_to(held.pattern + ", take first", stack_name);
    }
    require(stage, plan);
}

}  // namespace
}  // namespace lagoon_perf

int main(int argc, char** argv) {
    using namespace lagoon_perf;
    return run_program({.name = "pool_perf",
                        .suites = {{"one_process", 1, build}, {"two_processes", 2, build}},
                        .facts = {}},
                       argc, argv);
}
