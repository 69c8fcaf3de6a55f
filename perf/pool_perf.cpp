// pool_perf.cpp: taking a resource and giving it back, beside what else could hold a free-list.
//
// Patterns:
//   own slot again       take one, give it back (64 slots)
//   64 held              64 taken (of 256); each step gives back a random one and takes another
//   3686 of 4096 held    the same with nine tenths of the slots taken
//   ..., take first      the same, taking before giving back, so that a last-in-first-out pool
//                        cannot hand out the very slot that was just returned
// With two processes each has half of what is held, and both use one pool.
#include <memory>
#include <string>
#include <utility>

#include "peers/bare_word.hpp"
#include "peers/boost_lockfree.hpp"
#include "peers/lagoon_pool.hpp"
#include "peers/mutex_vector.hpp"
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

template <class Subject>
void add_own(Stage& stage, Plan& plan, const std::string& name, const std::string& pattern,
             std::uint32_t capacity_slots) {
    auto subject = std::make_shared<Subject>(stage, capacity_slots);
    plan.cases.push_back({name, pattern, [&stage, subject](std::uint64_t operations) {
                              return own_again(stage, *subject, operations);
                          }});
}

/// A case that swaps random ones of those held, on a pool that other cases may share.
template <Order order, class Subject>
Case swapping(Stage& stage, std::shared_ptr<Subject> subject, const std::string& name,
              const std::string& pattern, std::size_t held_count) {
    const std::size_t mine = held_count / stage.participants();
    return {name, pattern, [&stage, subject, mine](std::uint64_t operations) {
                return swap_random<order>(stage, *subject, mine, operations);
            }};
}

template <class Subject>
void add_held(Stage& stage, Plan& plan, const std::string& name, const Held& held) {
    auto subject = std::make_shared<Subject>(stage, held.capacity_slots);
    plan.cases.push_back(
        swapping<Order::give_then_take>(stage, subject, name, held.pattern, held.held_count));
    plan.cases.push_back(swapping<Order::take_then_give>(
        stage, subject, name, held.pattern + ", take first", held.held_count));
}

/// Calls `add` once per subject, with the type and the name.
template <class Add>
void for_each_subject(Add&& add) {
    add.template operator()<LagoonPool>("lagoon::Pool");
    add.template operator()<BoostStack>("boost::lockfree::stack");
    add.template operator()<BoostQueue>("boost::lockfree::queue");
    add.template operator()<InterprocessMutexVector>("Boost.Interprocess mutex, vector");
    add.template operator()<RobustMutexVector>("robust pthread mutex, vector");
    add.template operator()<BareCasStore>("bare CAS, release store");
    add.template operator()<BareCasExchange>("bare CAS, exchange");
}

void build_patterns(Stage& stage, Plan& plan) {
    for_each_subject([&]<class Subject>(const std::string& name) {
        add_own<Subject>(stage, plan, name, own_pattern, 64);
    });
    const Held all_held[] = {{"64 held", 256, 64}, {"3686 of 4096 held", 4096, 3686}};
    for (const Held& held : all_held) {
        for_each_subject([&]<class Subject>(const std::string& name) {
            add_held<Subject>(stage, plan, name, held);
        });
    }
    const std::string stack = "boost::lockfree::stack";
    plan.compare_all_to(own_pattern, stack);
    for (const Held& held : all_held) {
        plan.compare_all_to(held.pattern, stack);
        plan.compare_all_to(held.pattern + ", take first", stack);
    }
    const bool required = stage.participants() == 1;
    for (Ratio& ratio : plan.ratios) {
        if (!required || ratio.subject != "lagoon::Pool" || ratio.pattern != own_pattern) continue;
        ratio.at_most = has_membarrier() ? 0.30 : 0.50;
    }
    for (const Held& held : all_held) {
        for (const char* order : {"", ", take first"}) {
            plan.ratios.push_back({"lagoon::Pool", held.pattern + order, "lagoon::Pool",
                                   own_pattern, required ? 2.0 : 0.0});
        }
    }
}

/// The same work on pools of growing capacity. Boost's containers end at 65,534 slots.
void build_growth(Stage& stage, Plan& plan) {
    constexpr std::uint32_t all[] = {64, 1024, 16'384, 65'000, 250'000, 1'000'000};
    constexpr std::size_t count = std::size(all);
    const std::size_t used = stage.quick() ? 2 : count;
    const auto own = [](std::uint32_t slots) {
        return "own slot again, " + std::to_string(slots) + " slots";
    };
    const auto swap = [](std::uint32_t slots) {
        return "32 held, take first, " + std::to_string(slots) + " slots";
    };
    for (std::size_t i = 0; i < used; ++i) {
        for_each_subject([&]<class Subject>(const std::string& name) {
            if (name.starts_with("boost::lockfree") && all[i] > boost_lockfree_max_slots) return;
            if (name == "bare CAS, exchange" || name == "boost::lockfree::queue") return;
            add_own<Subject>(stage, plan, name, own(all[i]), all[i]);
            plan.cases.push_back(swapping<Order::take_then_give>(
                stage, std::make_shared<Subject>(stage, all[i]), name, swap(all[i]), 32));
        });
    }
    const std::string nine_tenths = "58500 of 65000 held, take first";
    for_each_subject([&]<class Subject>(const std::string& name) {
        if (stage.quick()) return;
        plan.cases.push_back(swapping<Order::take_then_give>(
            stage, std::make_shared<Subject>(stage, 65'000), name, nine_tenths, 58'500));
    });
    for (const Case& one : plan.cases) {
        if (one.subject != "lagoon::Pool" && one.subject != "boost::lockfree::stack") continue;
        if (one.pattern == nine_tenths) {
            plan.ratios.push_back({one.subject, nine_tenths, one.subject, swap(all[0])});
        }
        for (std::size_t i = 1; i < used; ++i) {
            for (const auto& pattern_of : {+own, +swap}) {
                if (one.pattern != pattern_of(all[i])) continue;
                plan.ratios.push_back({one.subject, one.pattern, one.subject, pattern_of(all[0])});
            }
        }
    }
}

}  // namespace
}  // namespace lagoon_perf

int main(int argc, char** argv) {
    using namespace lagoon_perf;
    return run_program({.name = "pool_perf",
                        .suites = {{"one_process", 1, build_patterns},
                                   {"two_processes", 2, build_patterns},
                                   {"growth", 1, build_growth}},
                        .facts = {}},
                       argc, argv);
}
