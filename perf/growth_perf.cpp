// growth_perf.cpp: what becomes of the cost as things grow: slots, fill, lanes, processes, bytes.
//
// Every pattern takes one slot and gives it back, or swaps one of 32 held for another ("take
// first"), on a pool or in an arena that differs in one number. The bystanders of `lanes` and
// `processes` have attached, taken once, and sleep. The facts tell what attaching to and reaping in
// a small and a large pool take.
#include <algorithm>
#include <array>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <lagoon/array.hpp>

#include "growth_facts.hpp"
#include "peers/subjects.hpp"
#include "support/environment.hpp"
#include "support/harness.hpp"
#include "support/patterns.hpp"

namespace lagoon_perf {
namespace {

std::string own(const std::string& what) { return "own slot again, " + what; }
std::string swap(const std::string& what) { return "32 held, take first, " + what; }

/// The ratio of each to the first, for `subject`; the last may be bounded.
void compare_to_first(Plan& plan, const std::string& subject,
                      const std::vector<std::string>& patterns, double last_at_most = 0) {
    for (std::size_t i = 1; i < patterns.size(); ++i) {
        const double at_most = i + 1 == patterns.size() ? last_at_most : 0;
        plan.require({subject, patterns[i], subject, patterns[0], at_most});
    }
}

/// The same work on pools of growing capacity. Boost's containers end at 65,534 slots.
void build_slots(Stage& stage, Plan& plan) {
    skip_absent_types(plan);
    std::vector<std::uint32_t> all{64, 1024, 16'384, 65'000, 250'000, 1'000'000};
    if (stage.quick()) all.resize(2);
    std::vector<std::string> owns;
    std::vector<std::string> swaps;
    for (const std::uint32_t slots : all) {
        const std::string what = std::to_string(slots) + " slots";
        owns.push_back(own(what));
        swaps.push_back(swap(what));
        for_few_subjects([&]<class Subject>(const std::string& name) {
            if (name == stack_name && slots > boost_lockfree_max_slots) return;
            plan.cases.push_back(own_case<Subject>(stage, name, owns.back(), slots));
            plan.cases.push_back(swap_case<Order::take_then_give>(
                stage, std::make_shared<Subject>(stage, slots), name, swaps.back(), 32));
        });
    }
    for (const char* subject : {lagoon_name, stack_name}) {
        const bool required = !stage.quick() && subject == std::string(lagoon_name);
        compare_to_first(plan, subject, owns, required ? 1.5 : 0);
        compare_to_first(plan, subject, swaps, required ? 1.5 : 0);
    }
}

/// 4096 slots, ever more of them held.
void build_fill(Stage& stage, Plan& plan) {
    skip_absent_types(plan);
    constexpr std::uint32_t slots = 4096;
    std::vector<std::string> patterns;
    for (const unsigned percent : {1U, 25U, 50U, 75U, 90U, 95U, 99U}) {
        if (stage.quick() && percent > 25) break;
        const std::size_t held = std::size_t{slots} * percent / 100;
        patterns.push_back("take first, " + std::to_string(percent) + " % held");
        for_few_subjects([&]<class Subject>(const std::string& name) {
            plan.cases.push_back(swap_case<Order::take_then_give>(
                stage, std::make_shared<Subject>(stage, slots), name, patterns.back(), held));
        });
    }
    compare_to_first(plan, lagoon_name, patterns);
}

/// Threads of this process that have a lane each and sleep until the end.
class Bystanders {
public:
    Bystanders(LagoonPool& pool, unsigned count) {
        for (unsigned n = 0; n < count; ++n) {
            threads_.emplace_back([this, &pool] {
                { const auto lease = pool.take(); }
                std::unique_lock hold(mutex_);
                ++ready_;
                change_.notify_all();
                change_.wait(hold, [this] { return over_; });
            });
        }
        std::unique_lock hold(mutex_);
        change_.wait(hold, [&] { return ready_ == count; });
    }
    ~Bystanders() {
        {
            const std::lock_guard hold(mutex_);
            over_ = true;
        }
        change_.notify_all();
        for (std::thread& thread : threads_) thread.join();
    }

private:
    std::mutex mutex_;
    std::condition_variable change_;
    unsigned ready_ = 0;
    bool over_ = false;
    std::vector<std::thread> threads_;
};

struct Crowd {
    Crowd(Stage& stage, const lagoon::ArenaOptions& options, unsigned bystanders)
        : pool(stage, 64, options), others(pool, bystanders) {}
    LagoonPool pool;
    Bystanders others;
};

Case crowd_case(Stage& stage, const std::string& pattern, const std::shared_ptr<Crowd>& crowd) {
    return {lagoon_name, pattern, [&stage, crowd](std::uint64_t operations) {
                return own_again(stage, crowd->pool, operations);
            }};
}

/// Ever more lanes, in the arena and taken by sleeping threads.
void build_lanes(Stage& stage, Plan& plan) {
    std::vector<std::string> possible;
    std::vector<std::string> taken;
    for (const unsigned lanes : {8U, 64U, 256U, 800U}) {
        if (stage.quick() && lanes > 8) break;
        lagoon::ArenaOptions options;
        options.max_threads = lanes;
        possible.push_back(own("room for " + std::to_string(lanes) + " threads"));
        plan.cases.push_back(
            crowd_case(stage, possible.back(), std::make_shared<Crowd>(stage, options, 0)));
        taken.push_back(own(std::to_string(lanes - 1) + " sleeping threads"));
        plan.cases.push_back(
            crowd_case(stage, taken.back(), std::make_shared<Crowd>(stage, options, lanes - 1)));
    }
    compare_to_first(plan, lagoon_name, possible);
    compare_to_first(plan, lagoon_name, taken);
}

/// Every process attaches to all of these pools; in one case nobody but participant 0 did.
void build_processes(Stage& stage, Plan& plan) {
    std::vector<std::string> patterns;
    for (const unsigned count : {1U, 4U, 16U, max_participants}) {
        if (count > stage.participants()) break;
        patterns.push_back(own(std::to_string(count - 1) + " sleeping processes"));
        // All take the same name, whether they attach or not.
        auto name = stage.next_name();
        std::shared_ptr<LagoonPool> pool;
        if (stage.participant() < count) {
            pool = std::make_shared<LagoonPool>(stage, 64, lagoon::ArenaOptions{}, name);
            { const auto lease = pool->take(); }
        }
        plan.cases.push_back({lagoon_name, patterns.back(), [&stage, pool](std::uint64_t steps) {
                                  return stage.timed_among(1,
                                                           [&] { return own_steps(*pool, steps); });
                              }});
    }
    compare_to_first(plan, lagoon_name, patterns);
}

struct WideArena {
    WideArena(lagoon::Count capacity, lagoon::Count count)
        : pool{"pool", {.capacity = capacity}}, numbers{"numbers", count} {}
    lagoon::Pool<PooledWord> pool;
    lagoon::Array<std::int64_t> numbers;
};

struct WidePool {
    using Held = lagoon::Lease<PooledWord>;
    lagoon::Arena<WideArena> arena;
    Held take() { return arena->pool.try_acquire(); }
    bool has(const Held& held) const { return static_cast<bool>(held); }
    const void* address(Held& held) const { return &*held; }
    void leave(Held&) {}
};

/// The same pool beside an array that makes the arena large.
void build_bytes(Stage& stage, Plan& plan) {
    std::vector<std::string> patterns;
    for (const std::uint64_t mib : {1U, 16U, 128U, 512U}) {
        if (stage.quick() && mib > 1) break;
        auto wide = std::make_shared<WidePool>(WidePool{lagoon::Arena<WideArena>::create(
            stage.next_name(), {}, lagoon::Count{64}, lagoon::Count{(mib << 20) / 8})});
        for (int slot = 0; slot < 64; ++slot) wide->arena->pool.add(PooledWord{});
        patterns.push_back(own("arena of " + std::to_string(mib) + " MiB"));
        plan.cases.push_back({lagoon_name, patterns.back(), [&stage, wide](std::uint64_t steps) {
                                  return own_again(stage, *wide, steps);
                              }});
    }
    compare_to_first(plan, lagoon_name, patterns);
}

}  // namespace
}  // namespace lagoon_perf

int main(int argc, char** argv) {
    using namespace lagoon_perf;
    return run_program({.name = "growth_perf",
                        .suites = {{"slots", 1, build_slots},
                                   {"fill", 1, build_fill},
                                   {"lanes", 1, build_lanes},
                                   {"processes", max_participants, build_processes},
                                   {"bytes", 1, build_bytes}},
                        .facts = attach_and_reap},
                       argc, argv);
}
