#include "paths.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <iostream>
#include <memory>
#include <semaphore>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "../peers/subjects.hpp"
#include "../support/futex.hpp"

namespace lagoon_perf {

namespace {

constexpr std::uint64_t warm_up_steps = 300;

/// What the tracer looks for.
void mark() {
    // MK1 relaxed store, no pair: only the tracer sees it.
    reinterpret_cast<FutexWord*>(mark_address)->store(1, std::memory_order_relaxed);
}

/// Prints `shared BEGIN END` (hexadecimal) for every mapping that other processes may share.
void print_shared_mappings() {
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) {
        const auto dash = line.find('-');
        const auto space = line.find(' ');
        if (dash == std::string::npos || line.compare(space + 4, 1, "s") != 0) continue;
        std::cout << "shared " << line.substr(0, dash) << ' '
                  << line.substr(dash + 1, space - dash - 1) << '\n';
    }
}

template <class Step>
void walk(Step step, std::uint64_t steps, bool marked) {
    for (std::uint64_t n = 0; n < warm_up_steps; ++n) step();
    if (!marked) {
        for (std::uint64_t n = 0; n < steps; ++n) step();
        return;
    }
    for (std::uint64_t n = 0; n < steps; ++n) {
        mark();
        step();
        mark();
    }
    print_shared_mappings();
}

std::unique_ptr<Stage> make_stage() {
    return std::make_unique<Stage>(StageOptions{.run_id = "paths." + std::to_string(getpid())});
}

template <class Subject, class... Args>
Path own_path(const std::string& subject_name, const std::string& name, std::uint32_t slots,
              Args... args) {
    return {subject_name, name, [=](std::uint64_t steps, bool marked) {
                const auto stage = make_stage();
                Subject subject(*stage, slots, args...);
                if (marked) {
                    walk([&] { own_steps(subject, 1); }, steps, marked);
                } else {
                    own_steps(subject, steps);  // the loop as it is timed
                }
            }};
}

/// As swap_random does, one step at a time.
template <Order order, class Subject>
Path swap_path(const std::string& subject_name, const std::string& name, std::uint32_t slots,
               std::size_t held_count) {
    return {subject_name, name, [=](std::uint64_t steps, bool marked) {
                const auto stage = make_stage();
                Subject subject(*stage, slots);
                const Draws draws(held_count, 0);
                std::vector<typename Subject::Held> held;
                for (std::size_t n = 0; n < held_count; ++n) held.push_back(subject.take());
                swap_steps<order>(subject, held, draws, 2 * held_count);
                std::uint64_t at = 0;
                walk([&] { swap_one<order>(subject, held[draws[at++]]); }, steps, marked);
            }};
}

/// Another thread takes the one slot and gives it back between the steps.
template <class Subject>
Path handed_over_path(const std::string& subject_name) {
    Path path{subject_name, "1 slot, given back by another thread",
              [](std::uint64_t steps, bool marked) {
                  const auto stage = make_stage();
                  Subject subject(*stage, 1);
                  std::binary_semaphore theirs(0);
                  std::binary_semaphore ours(0);
                  const std::uint64_t turns = steps + warm_up_steps;
                  std::thread other([&] {
                      for (std::uint64_t n = 0; n < turns; ++n) {
                          theirs.acquire();
                          own_steps(subject, 1);
                          ours.release();
                      }
                  });
                  for (std::uint64_t n = 0; n < turns; ++n) {
                      theirs.release();
                      ours.acquire();
                      const bool counts = marked && n >= warm_up_steps;
                      if (counts) mark();
                      own_steps(subject, 1);
                      if (counts) mark();
                  }
                  if (marked) print_shared_mappings();
                  other.join();
              }};
    path.countable_by_difference = false;
    return path;
}

/// `step(pool)` on a pool of 64 idle slots.
template <class Step>
Path pool_path(const std::string& name, Step step) {
    return {lagoon_name, name, [step](std::uint64_t steps, bool marked) {
                const auto stage = make_stage();
                LagoonPool subject(*stage, 64);
                walk([&] { step(subject.pool()); }, steps, marked);
            }};
}

Path exhausted_path() {
    return {lagoon_name, "nothing idle: try_acquire fails", [](std::uint64_t steps, bool marked) {
                const auto stage = make_stage();
                LagoonPool subject(*stage, 64);
                const auto all = subject.pool().acquire_n(lagoon::Count{64});
                walk([&] { static_cast<void>(subject.pool().try_acquire()); }, steps, marked);
            }};
}

Path dpdk_path() {
    return {dpdk_name, "own slot again", [](std::uint64_t steps, bool) {
                const auto stage = make_stage();
                const std::string why_not = why_no_dpdk(*stage);
                if (!why_not.empty()) throw std::runtime_error(why_not);
                dpdk_own_again(*stage, "", 64).run(steps);
            }};
}

void add_lagoon_paths(std::vector<Path>& paths) {
    using Pool = lagoon::Pool<PooledWord>;
    lagoon::ArenaOptions symmetric;
    symmetric.ownership = lagoon::Ownership::symmetric;
    paths.push_back(own_path<LagoonPool>(lagoon_name, "own slot again, 65000 slots", 65'000));
    paths.push_back(own_path<LagoonPool>(lagoon_name, "own slot again, symmetric", 64, symmetric));
    paths.push_back(handed_over_path<LagoonPool>(lagoon_name));
    paths.push_back(pool_path("acquire_n of 4, given back", [](Pool& pool) {
        static_cast<void>(pool.try_acquire_n(lagoon::Count{4}));
    }));
    paths.push_back(pool_path("discard, and create anew", [](Pool& pool) {
        if (auto lease = pool.try_acquire()) lease.discard();
        pool.add(PooledWord{1});
    }));
    paths.push_back(exhausted_path());
}

}  // namespace

void map_mark() {
    void* const wanted = reinterpret_cast<void*>(mark_address);
    constexpr int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    if (mmap(wanted, 4096, PROT_READ | PROT_WRITE, flags, -1, 0) != wanted) {
        throw std::system_error(errno, std::generic_category(), "mmap of the mark");
    }
}

std::vector<Path> all_paths() {
    std::vector<Path> paths;
    for_each_subject([&]<class Subject>(const std::string& name) {
        paths.push_back(own_path<Subject>(name, "own slot again", 64));
    });
    paths.push_back(dpdk_path());
    for_few_subjects([&]<class Subject>(const std::string& name) {
        paths.push_back(swap_path<Order::give_then_take, Subject>(name, "64 of 256 held", 256, 64));
        paths.push_back(
            swap_path<Order::take_then_give, Subject>(name, "64 of 256 held, take first", 256, 64));
        paths.push_back(swap_path<Order::take_then_give, Subject>(
            name, "3686 of 4096 held, take first", 4096, 3686));
    });
    add_lagoon_paths(paths);
    return paths;
}

}  // namespace lagoon_perf
