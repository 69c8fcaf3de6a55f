// pool_calls_test.cpp: killed at every system call of borrowing from a pool: with what it needs at
// hand, while it waits, and while it gives back to somebody who waits.
#include <lagoon/lagoon.hpp>

#include <catch2/catch.hpp>
#include <optional>
#include <string>
#include <vector>

#include "kill/rig.hpp"
#include "kill/scene.hpp"

using lagoon::Arena;
using lagoon::Lease;
using lagoon::Lifetime;
using scene::Desk;
using scene::require_unclaimed;
using support::Child;
using support::Flag;
using support::unique_name;
using namespace std::chrono_literals;

namespace {

void print(const char* what, std::uint64_t points) {
    std::printf("kill points: %4llu  %s\n", static_cast<unsigned long long>(points), what);
    std::fflush(stdout);
    REQUIRE(points > 0);
}

std::vector<Lease<int>> all_of(const Arena<Desk>& desk) {
    std::vector<Lease<int>> all;
    while (auto lease = desk->pool.try_acquire()) all.push_back(std::move(lease));
    return all;
}

}  // namespace

TEST_CASE("kill: at every system call of a first acquire and give_back", "[kill][process]") {
    const auto name = unique_name("pool");
    const auto desk = Arena<Desk>::create(name, scene::small(Lifetime::scoped));
    const auto points = rig::kill_everywhere([] {}, [&] { return Arena<Desk>::open(name); },
                                             [](Arena<Desk>& same) {
                                                 auto lease = same->pool.acquire();
                                                 auto other = same->pool.acquire_for(1s);
                                                 lease.give_back();
                                             },
                                             [&](bool) { require_unclaimed(desk, 0); });
    print("attach by use, acquire, give_back", points);
}

TEST_CASE("kill: at every system call of a wait for a resource", "[kill][process]") {
    const auto name = unique_name("pool");
    const auto desk = Arena<Desk>::create(name, scene::small(Lifetime::scoped));
    const bool timed = GENERATE(false, true);
    std::vector<Lease<int>> all;
    const auto points = rig::kill_everywhere(
        [&] {
            all = all_of(desk);
            REQUIRE(all.size() == scene::resources);
        },
        [&] { return Arena<Desk>::open(name); },
        [&](Arena<Desk>& same) {
            auto lease = timed ? same->pool.acquire_for(1min) : same->pool.acquire();
            if (lease) lease.give_back();
        },
        [&](bool) {
            all.clear();
            require_unclaimed(desk, 0);
        },
        [&] {
            if (!all.empty()) all.pop_back();
        });
    print(timed ? "a wait with a deadline" : "a wait", points);
}

TEST_CASE("kill: at every system call of a wait that ends by its deadline", "[kill][process]") {
    const auto name = unique_name("pool");
    const auto desk = Arena<Desk>::create(name, scene::small(Lifetime::scoped));
    std::vector<Lease<int>> all;
    const auto points =
        rig::kill_everywhere([&] { all = all_of(desk); }, [&] { return Arena<Desk>::open(name); },
                             [&](Arena<Desk>& same) { (void)same->pool.acquire_for(5ms); },
                             [&](bool) {
                                 all.clear();
                                 require_unclaimed(desk, 0);
                             });
    print("a wait that times out", points);
}

TEST_CASE("kill: a waiter is served although its releaser is killed at any system call",
          "[kill][process]") {
    const auto name = unique_name("pool");
    const bool lock = GENERATE(false, true);
    std::uint64_t points = 0;
    const auto desk = Arena<Desk>::create(name, scene::small(Lifetime::scoped));
    for (std::uint64_t stop = 1; points == 0; ++stop) {
        const Flag waiting;
        rig::Stepper releaser{[&] {
                                  auto same = Arena<Desk>::open(name);
                                  auto all = all_of(same);
                                  if (all.size() != scene::resources || !same->lock.try_lock())
                                      std::abort();
                                  return std::pair{std::move(same), std::move(all)};
                              },
                              [&](std::pair<Arena<Desk>, std::vector<Lease<int>>>& held) {
                                  if (lock) {
                                      held.first->lock.unlock();
                                  } else {
                                      held.second.back().give_back();
                                  }
                              }};
        Child waiter{[&] {
            const auto same = Arena<Desk>::open(name);
            waiting.raise();
            if (lock) return same->lock.lock() ? 0 : 1;
            return same->pool.acquire() ? 0 : 1;
        }};
        waiting.wait();
        support::wait_until([&] { return lock || desk->pool.stats().waiting > 0; });
        if (lock) std::this_thread::sleep_for(3ms);
        const bool over = releaser.step_to(stop) != rig::Stop::halted;
        const std::string where = releaser.where();
        (void)releaser.kill();
        INFO("killed at stop " << stop << ", " << where);
        REQUIRE(waiter.wait() == support::exited(0));
        require_unclaimed(desk, 0);
        if (over) points = stop - 1;
    }
    print(lock ? "unlock while somebody waits" : "give_back while somebody waits", points);
}

TEST_CASE("kill: a waiter killed between its wake-up and what it was woken for wakes the next",
          "[kill][process]") {
    const auto name = unique_name("woken");
    const bool lock = GENERATE(false, true);
    const auto desk = Arena<Desk>::create(name, scene::small(Lifetime::scoped));
    const auto open = [&] { return Arena<Desk>::open(name); };
    const auto wait = [&](Arena<Desk>& same) {
        if (lock) {
            same->lock.lock();
            same->lock.unlock();
        } else {
            same->pool.acquire().give_back();
        }
    };
    const auto woken = [](const rig::Stepper& stepper) {
        const std::string where = stepper.where();
        return where.starts_with("exit") && where.find('-') == std::string::npos;
    };
    // A sleep may end by its cap before the test is done with it, and then the round does not
    // count.
    int rounds = 0;
    for (bool counts = false; !counts; ++rounds) {
        REQUIRE(rounds < 200);
        auto all = all_of(desk);
        REQUIRE(desk->lock.try_lock());
        rig::Stepper first{open, wait};
        rig::Stepper second{open, wait};
        bool released = false;
        bool first_woken = false;
        bool second_woken = false;
        const auto both_sleep = [&] {
            if (std::exchange(released, true)) return;
            desk->lock.unlock();
            all.pop_back();
            support::wait_until([&] { return first.is_halted(); });
            first_woken = woken(first);
            ::kill(first.pid(), SIGKILL);
        };
        const auto first_sleeps = [&] {
            while (!released && second.step(both_sleep) == rig::Stop::halted) {
            }
            second_woken = woken(second);
        };
        while (!released && first.step(first_sleeps) == rig::Stop::halted) {
        }
        REQUIRE(released);
        REQUIRE(first.kill() == support::killed_by(SIGKILL));
        REQUIRE(second.run_on() == rig::Stop::done);
        REQUIRE(second.finish() == support::exited(0));
        all.clear();
        require_unclaimed(desk, 0);
        counts = first_woken && second_woken;
    }
    std::printf("kill points:    1  between a wake-up and %s, round %d\n",
                lock ? "the lock" : "the taking", rounds);
}

TEST_CASE("kill: at every system call of filling and emptying slots", "[kill][process]") {
    const auto name = unique_name("pool");
    const auto desk = Arena<Desk>::create(name, scene::small(Lifetime::scoped));
    // Both processes have the code for a resource, so that either can finish the other's work.
    const lagoon::PoolHooks<int> hooks{.check =
                                           [](int&) {
                                               ::getppid();
                                               return true;
                                           },
                                       .destroy =
                                           [](int& value) {
                                               ::getppid();
                                               value = 0;
                                           }};
    desk.hooks(&Desk::pool, hooks);
    const auto points =
        rig::kill_everywhere([] {}, [&] { return Arena<Desk>::open(name); },
                             [&](Arena<Desk>& same) {
                                 same.hooks(&Desk::pool, hooks);
                                 same->pool.clear();
                                 auto made = same->pool.acquire_or_create([] {
                                     ::getppid();  // a system call in the factory
                                     return 7;
                                 });
                                 auto more = same->pool.acquire_or_create([] {
                                     ::getppid();
                                     return 8;
                                 });
                                 auto third = same->pool.acquire_or_create([](int& value) {
                                     value = 9;
                                     ::getppid();
                                 });
                                 third.discard();
                                 made.give_back();
                                 more.give_back();
                                 same->pool.clear();
                                 same->pool.add(1);
                                 same->pool.add(2);
                             },
                             [&](bool) {
                                 (void)desk.reap();
                                 require_unclaimed(desk, 0, 0);
                                 desk->pool.clear();
                                 for (std::uint64_t i = 0; i < desk->pool.capacity(); ++i) {
                                     REQUIRE(desk->pool.add(static_cast<int>(i)));
                                 }
                                 REQUIRE(all_of(desk).size() == desk->pool.capacity());
                             });
    print("acquire_or_create, discard, clear, add", points);
}
