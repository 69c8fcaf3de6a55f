#include "dpdk_mempool.hpp"

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_mempool.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <semaphore>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <vector>

#include "../support/environment.hpp"

namespace lagoon_perf {

namespace {

/// Starts DPDK once in this process, on the CPU that the caller is pinned to.
std::string start() {
    cpu_set_t before;
    sched_getaffinity(0, sizeof before, &before);
    const std::string cpu = std::to_string(allowed_cpus().front());
    std::vector<std::string> words{"perf",
                                   "--no-huge",
                                   "--no-pci",
                                   "--no-shconf",
                                   "--no-telemetry",
                                   "--log-level=*:error",
                                   "--file-prefix=lagoon-perf-" + std::to_string(getpid()),
                                   "-l",
                                   cpu};
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    const int status = rte_eal_init(static_cast<int>(argv.size()), argv.data());
    // It pins its caller, and leaves an empty directory behind.
    sched_setaffinity(0, sizeof before, &before);
    std::error_code ignored;
    const std::filesystem::path left = rte_eal_get_runtime_dir();
    std::filesystem::remove_all(left, ignored);
    std::filesystem::remove(left.parent_path(), ignored);
    return status < 0 ? std::string("rte_eal_init: ") + rte_strerror(rte_errno) : "";
}

class Mempool {
public:
    using Held = void*;

    Mempool(std::uint32_t capacity, std::size_t held_count, unsigned threads) {
        static unsigned made = 0;
        const std::size_t spare = (capacity - held_count) / (3 * threads);
        const auto cached = std::clamp<std::size_t>(spare, 1, RTE_MEMPOOL_CACHE_MAX_SIZE);
        pool_ = rte_mempool_create(("perf" + std::to_string(made++)).c_str(), capacity,
                                   sizeof(std::uint64_t), static_cast<unsigned>(cached), 0, nullptr,
                                   nullptr, nullptr, nullptr, SOCKET_ID_ANY, 0);
        if (pool_ == nullptr) {
            throw std::runtime_error(std::string("rte_mempool_create: ") + rte_strerror(rte_errno));
        }
    }
    ~Mempool() { rte_mempool_free(pool_); }
    Mempool(const Mempool&) = delete;
    Mempool& operator=(const Mempool&) = delete;

    Held take() {
        void* taken = nullptr;
        return rte_mempool_get(pool_, &taken) == 0 ? taken : nullptr;
    }
    bool has(Held held) const { return held != nullptr; }
    const void* address(Held held) const { return held; }
    void give(Held held) { rte_mempool_put(pool_, held); }
    void leave(Held held) { rte_mempool_put(pool_, held); }

private:
    rte_mempool* pool_ = nullptr;
};

/// Where the threads of one case wait for each other.
class ThreadBarrier {
public:
    explicit ThreadBarrier(unsigned count) : count_(count) {}
    void meet() {
        // TB1 acq_rel RMW -> TB1, TB2, <- TB1: each sees what the others did before.
        const unsigned target =
            (arrived_.fetch_add(1, std::memory_order_acq_rel) / count_ + 1) * count_;
        // TB2 acquire load <- TB1.
        while (arrived_.load(std::memory_order_acquire) < target) lagoon::detail::cpu_relax();
    }

private:
    lagoon::detail::Atomic<std::uint32_t> arrived_{0};
    unsigned count_;
};

/// `prepare`, `work` and `finish` in as many threads as there are participants; `work` is timed.
template <class Prepare, class Work, class Finish>
Interval in_threads(Stage& stage, Prepare prepare, Work work, Finish finish) {
    if (!stage.is_creator()) return stage.sit_out();
    const unsigned threads = stage.participants();
    ThreadBarrier barrier(threads);
    std::vector<Interval> intervals(threads);
    const auto act = [&](unsigned thread) {
        barrier.meet();
        intervals[thread].begin_ns = now_ns();
        intervals[thread].misses += work(thread);
        intervals[thread].end_ns = now_ns();
        barrier.meet();
        finish(thread);
    };
    std::counting_semaphore<> ready(0);
    std::vector<std::thread> others;
    for (unsigned thread = 1; thread < threads; ++thread) {
        others.emplace_back([&, thread] {
            if (stage.cpu_of(thread) >= 0) pin_to(stage.cpu_of(thread));
            if (rte_thread_register() != 0) intervals[thread].misses = 1;
            prepare(thread);
            ready.release();
            act(thread);
            rte_thread_unregister();
        });
    }
    prepare(0);
    // Asleep, for a new thread begins on the CPU of this one.
    for (unsigned thread = 1; thread < threads; ++thread) ready.acquire();
    act(0);
    for (std::thread& other : others) other.join();
    Interval all = intervals.front();
    for (const Interval& one : intervals) {
        all.begin_ns = std::min(all.begin_ns, one.begin_ns);
        all.end_ns = std::max(all.end_ns, one.end_ns);
    }
    for (unsigned thread = 1; thread < threads; ++thread) all.misses += intervals[thread].misses;
    return all;
}

std::shared_ptr<Mempool> make_pool(Stage& stage, std::uint32_t capacity, std::size_t held_count) {
    if (!stage.is_creator()) return nullptr;
    return std::make_shared<Mempool>(capacity, held_count, stage.participants());
}

template <Order order>
Case swapping(Stage& stage, const std::string& pattern, std::uint32_t capacity,
              std::size_t held_count) {
    const unsigned threads = stage.participants();
    const std::size_t mine = held_count / threads;
    auto pool = make_pool(stage, capacity, held_count);
    const auto run = [&stage, pool, mine, threads](std::uint64_t operations) {
        std::vector<std::vector<void*>> held(threads);
        std::vector<Draws> draws;
        for (unsigned thread = 0; thread < threads; ++thread) draws.emplace_back(mine, thread);
        return in_threads(
            stage,
            [&](unsigned thread) {
                for (std::size_t n = 0; n < mine; ++n) held[thread].push_back(pool->take());
                swap_steps<order>(*pool, held[thread], draws[thread], 2 * mine);
            },
            [&](unsigned thread) {
                return swap_steps<order>(*pool, held[thread], draws[thread], operations);
            },
            [&](unsigned thread) {
                for (void* one : held[thread]) pool->give(one);
            });
    };
    return {dpdk_name, pattern, run};
}

}  // namespace

std::string why_no_dpdk(Stage& stage) {
    static std::string problem;
    static bool started = false;
    if (stage.is_creator() && !started) {
        problem = start();
        started = true;
    }
    return stage.as_creator_says(problem.empty()) ? "" : "DPDK does not start: " + problem;
}

Case dpdk_own_again(Stage& stage, const std::string& pattern, std::uint32_t capacity_slots) {
    auto pool = make_pool(stage, capacity_slots, 0);
    const auto nothing = [](unsigned) {};
    return {dpdk_name, pattern, [&stage, pool, nothing](std::uint64_t operations) {
                return in_threads(
                    stage, nothing, [&](unsigned) { return own_steps(*pool, operations); },
                    nothing);
            }};
}

Case dpdk_swap_random(Stage& stage, const std::string& pattern, std::uint32_t capacity_slots,
                      std::size_t held_count, Order order) {
    return order == Order::give_then_take
               ? swapping<Order::give_then_take>(stage, pattern, capacity_slots, held_count)
               : swapping<Order::take_then_give>(stage, pattern, capacity_slots, held_count);
}

}  // namespace lagoon_perf
