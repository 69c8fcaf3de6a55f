// subjects.hpp: everything that is measured as a pool, by type and name.
#pragma once

#include <string>

#include "bare_word.hpp"
#include "boost_lockfree.hpp"
#include "dpdk_mempool.hpp"
#include "lagoon_pool.hpp"
#include "mutex_vector.hpp"
#ifdef LAGOON_PERF_WITH_LOFFLI
#include "loffli.hpp"
#endif

namespace lagoon_perf {

constexpr const char* lagoon_name = "lagoon::Pool";
constexpr const char* clocked_name = "lagoon::Pool, every clock on";
constexpr const char* first_come_name = "lagoon::Pool, first come";
constexpr const char* stack_name = "boost::lockfree::stack";
constexpr const char* loffli_name = "iceoryx LoFFLi";
constexpr const char* claim_name = "bare claim, two counted stores";
constexpr const char* manager_name = "Python Manager().list()";

/// Calls `add` once per subject that is a type here, with the type and the name.
template <class Add>
void for_each_subject(Add&& add) {
    add.template operator()<LagoonPool>(lagoon_name);
    add.template operator()<BoostStack>(stack_name);
    add.template operator()<BoostQueue>("boost::lockfree::queue");
#ifdef LAGOON_PERF_WITH_LOFFLI
    add.template operator()<LoffliList>(loffli_name);
#endif
    add.template operator()<InterprocessMutexVector>("Boost.Interprocess mutex, vector");
    add.template operator()<RobustMutexVector>("robust pthread mutex, vector");
    add.template operator()<BareCasStore>("bare CAS, release store");
    add.template operator()<BareCasExchange>("bare CAS, exchange");
}

/// As for_each_subject, of those that are of interest where a plot has room for few.
template <class Add>
void for_few_subjects(Add&& add) {
    add.template operator()<LagoonPool>(lagoon_name);
    add.template operator()<BoostStack>(stack_name);
#ifdef LAGOON_PERF_WITH_LOFFLI
    add.template operator()<LoffliList>(loffli_name);
#endif
    add.template operator()<RobustMutexVector>("robust pthread mutex, vector");
}

/// Tells what is absent of the peers that are types.
inline void skip_absent_types([[maybe_unused]] Plan& plan) {
#ifndef LAGOON_PERF_WITH_LOFFLI
    plan.skipped.push_back(
        {loffli_name, "this was built without the package libiceoryx-hoofs-dev"});
#endif
}

/// A case that takes one and gives it back.
template <class Subject>
Case own_case(Stage& stage, const std::string& name, const std::string& pattern,
              std::uint32_t capacity_slots) {
    auto subject = std::make_shared<Subject>(stage, capacity_slots);
    return {name, pattern, [&stage, subject](std::uint64_t operations) {
                return own_again(stage, *subject, operations);
            }};
}

/// A case that swaps random ones of those held, on a pool that other cases may share.
template <Order order, class Subject>
Case swap_case(Stage& stage, std::shared_ptr<Subject> subject, const std::string& name,
               const std::string& pattern, std::size_t held_count) {
    const std::size_t mine = held_count / stage.participants();
    return {name, pattern, [&stage, subject, mine](std::uint64_t operations) {
                return swap_random<order>(stage, *subject, mine, operations);
            }};
}

}  // namespace lagoon_perf
