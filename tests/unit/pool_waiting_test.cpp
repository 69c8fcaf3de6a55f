// pool_waiting_test.cpp: who waits for a resource or a place is woken.
#include <lagoon/lagoon.hpp>

#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

#include "support/system_calls.hpp"
#include "support/waiting.hpp"

using lagoon::Outcome;
using support::Child;
using support::without_system_calls;
using support::waiting::Arena;
using support::waiting::Item;
using support::waiting::make_full_room;
using support::waiting::make_room;
using support::waiting::Room;
using support::waiting::wait_for_waiters;
using namespace std::chrono_literals;

TEST_CASE("pool waiting: a release wakes who waits") {
    auto room = make_full_room(1);
    for (int round = 0; round < 20; ++round) {
        auto held = room->items.acquire();
        held->number = round;
        std::int64_t seen = -1;
        std::thread waiter{[&] { seen = room->items.acquire()->number; }};
        wait_for_waiters(room, 1);
        held.give_back();
        waiter.join();
        CHECK(seen == round);
    }
    const auto stats = room->items.stats();
    CHECK(stats.waits == 20);
    CHECK(stats.waiting == 0);
    CHECK(stats.late_wakes == 0);
}

TEST_CASE("pool waiting: a release wakes who waits in another process, both ways", "[child]") {
    auto room = make_full_room(1);
    // Two sides take turns: whoever has had its turn gives back only when the other one waits.
    const auto play = [&](std::int64_t side) {
        for (int i = 0; i < 20; ++i) {
            auto lease = room->items.acquire();
            while (lease->number % 2 != side) {  // ours again, before the other one woke
                lease.give_back();
                std::this_thread::yield();
                lease = room->items.acquire();
            }
            ++lease->number;
            if (i < 19 || side == 0) wait_for_waiters(room, 1);
        }
        return 0;
    };
    Child child{[&] { return play(1); }};
    play(0);
    CHECK(child.wait() == support::exited(0));
    CHECK(room->items.try_acquire()->number == 40);
    CHECK(room->items.stats().late_wakes == 0);
}

TEST_CASE("pool waiting: each of many waiters is served, one for every release") {
    auto room = make_full_room(3);
    auto held = room->items.acquire_n(3);
    std::vector<std::thread> threads;
    std::atomic<int> served{0};
    for (int i = 0; i < 12; ++i) {
        threads.emplace_back([&] {
            const auto lease = room->items.acquire();
            served += lease ? 1 : 0;
        });
    }
    wait_for_waiters(room, 12);
    held.clear();
    for (auto& thread : threads) thread.join();
    CHECK(served == 12);
    CHECK(room->items.stats().late_wakes == 0);
    CHECK(room->items.stats().waiting == 0);
}

TEST_CASE("pool waiting: a place wakes who would create: discard, detach, a throwing factory") {
    auto room = make_room(1);
    const auto then = [&](auto&& free_place) {
        auto held = room->items.acquire_or_create([](Item&) {});
        REQUIRE(held);
        std::int64_t made = 0;
        std::thread waiter{[&] {
            auto lease = room->items.acquire_or_create([](Item& item) { item.number = 5; });
            made = lease->number;
            lease.discard();
        }};
        wait_for_waiters(room, 1);
        free_place(held);
        waiter.join();
        CHECK(made == 5);
    };
    then([](auto& lease) { lease.discard(); });
    then([](auto& lease) { (void)lease.detach(); });
    {
        std::int64_t made = 0;
        std::optional<std::thread> waiter;
        CHECK_THROWS(room->items.acquire_or_create([&](Item&) {
            waiter.emplace([&] {
                made = room->items.acquire_or_create([](Item& item) { item.number = 6; })->number;
            });
            wait_for_waiters(room, 1);
            throw std::runtime_error{"no"};
        }));
        waiter->join();
        CHECK(made == 6);
    }
    CHECK(room->items.stats().late_wakes == 0);
}

TEST_CASE("pool waiting: a waiter that would create is served by a return, too") {
    auto room = make_full_room(1);
    auto held = room->items.acquire();
    bool created = false;
    std::thread waiter{
        [&] { (void)room->items.acquire_or_create_for(1h, [&](Item&) { created = true; }); }};
    wait_for_waiters(room, 1);
    held.give_back();
    waiter.join();
    CHECK_FALSE(created);
}

TEST_CASE("pool waiting: add wakes who waits for an idle resource") {
    auto room = make_room(1);
    std::thread waiter{[&] { (void)room->items.acquire(); }};
    wait_for_waiters(room, 1);
    room->items.add(Item{});
    waiter.join();
    CHECK(room->items.stats().late_wakes == 0);
}

TEST_CASE("pool waiting: a place is no help to one who waits for an idle resource") {
    auto room = make_full_room(1);
    auto held = room->items.acquire();
    Outcome outcome{};
    std::int64_t made = 0;
    std::thread idle{[&] { outcome = room->items.acquire_for(300ms).status(); }};
    std::thread maker{[&] {
        auto lease = room->items.acquire_or_create([](Item& item) { item.number = 3; });
        made = lease->number;
        lease.discard();
    }};
    wait_for_waiters(room, 2);
    held.discard();
    maker.join();
    idle.join();
    CHECK(made == 3);
    CHECK(outcome == Outcome::timed_out);
}

TEST_CASE("pool waiting: a stop request ends a wait") {
    auto room = make_full_room(1);
    auto held = room->items.acquire();
    std::stop_source source;
    std::vector<Outcome> outcomes(3);
    std::vector<std::thread> threads;
    threads.emplace_back([&] { outcomes[0] = room->items.acquire(source.get_token()).status(); });
    threads.emplace_back(
        [&] { outcomes[1] = room->items.acquire_for(1h, source.get_token()).status(); });
    threads.emplace_back([&] {
        outcomes[2] = room->items.acquire_or_create([](Item&) {}, source.get_token()).status();
    });
    std::thread several{[&] { (void)room->items.acquire_n(1, source.get_token()); }};
    wait_for_waiters(room, 3);
    source.request_stop();
    for (auto& thread : threads) thread.join();
    several.join();
    CHECK(outcomes == std::vector<Outcome>(3, Outcome::cancelled));
    CHECK(room->items.stats().waiting == 0);
}

TEST_CASE("pool waiting: close wakes every waiter in every process, who returns closed",
          "[child]") {
    auto room = make_full_room(1);
    auto held = room->items.acquire();
    std::vector<Outcome> outcomes(2);
    std::thread idle{[&] { outcomes[0] = room->items.acquire().status(); }};
    std::thread maker{[&] { outcomes[1] = room->items.acquire_or_create([](Item&) {}).status(); }};
    std::thread several{[&] { (void)room->items.acquire_n(1); }};
    Child child{[&] { return room->items.acquire().status() == Outcome::closed ? 0 : 1; }};
    wait_for_waiters(room, 3);
    room->items.close();
    idle.join();
    maker.join();
    several.join();
    CHECK(child.wait() == support::exited(0));
    CHECK(outcomes == std::vector<Outcome>(2, Outcome::closed));
}

TEST_CASE("pool waiting: more than max_waiters are turned away") {
    auto room = make_full_room(1, 2);
    auto held = room->items.acquire();
    std::thread one{[&] { (void)room->items.acquire(); }};
    std::thread two{[&] { (void)room->items.acquire(); }};
    wait_for_waiters(room, 2);
    CHECK(room->items.acquire().status() == Outcome::too_many_waiters);
    CHECK(room->items.acquire_or_create([](Item&) {}).status() == Outcome::too_many_waiters);
    held.give_back();
    one.join();
    two.join();
    CHECK(room->items.acquire());
}

TEST_CASE("pool waiting: a wait costs no wake-ups in vain while nothing happens") {
    auto room = make_full_room(1);
    auto held = room->items.acquire();
    CHECK(room->items.acquire_for(200ms).status() == Outcome::timed_out);
    const auto stats = room->items.stats();
    CHECK(stats.waits == 1);
    CHECK(stats.timed_out == 1);
    CHECK(stats.waiting == 0);
    CHECK(stats.late_wakes == 0);
}

TEST_CASE("pool waiting: threads that share the process's lane all wait and all are served") {
    auto room = make_full_room(1, 0, {.max_threads = 1});
    auto held = room->items.acquire();
    std::atomic<int> served{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 6; ++i) {
        threads.emplace_back([&] { served += room->items.acquire() ? 1 : 0; });
    }
    wait_for_waiters(room, 1);
    held.give_back();
    for (auto& thread : threads) thread.join();
    CHECK(served == 6);
    CHECK(room->items.stats().waiting == 0);
}

TEST_CASE("pool waiting: whoever frees something makes the call that wakes who waits for it",
          "[child]") {
    const auto wakes = [](std::uint64_t several, auto&& release) {
        auto room = make_full_room(2);
        const support::Flag holds;
        const support::Flag go;
        Child child{[&] {
            const auto mine = Arena::open(room.name());
            auto all = mine->items.acquire_n(2);
            holds.raise();
            go.wait();
            if (all.size() != 2 || !support::forbid_system_call(SYS_futex)) return 1;
            release(*mine, all);
            ::_exit(0);  // without giving the rest back, which would make the call, too
            return 0;
        }};
        holds.wait();
        Outcome outcome = Outcome::ok;
        std::thread waiter{[&] {
            if (several != 0) {
                (void)room->items.acquire_n_for(1h, several);
            } else {
                outcome = room->items.acquire_or_create([](Item&) {}).status();
            }
        }};
        wait_for_waiters(room, 1);
        go.raise();
        const bool called = child.wait() == support::killed_by_a_call;
        // It died before the call: the kernel's word for that death is what wakes.
        waiter.join();
        return called && (outcome == Outcome::ok || outcome == Outcome::closed);
    };
    using Leases = std::vector<lagoon::Lease<Item>>;
    CHECK(wakes(0, [](Room&, Leases& all) { all[0].give_back(); }));
    CHECK(wakes(0, [](Room&, Leases& all) { all[0].discard(); }));
    CHECK(wakes(0, [](Room&, Leases& all) { (void)all[0].detach(); }));
    CHECK(wakes(0, [](Room& room, Leases&) { room.items.close(); }));
    CHECK(wakes(2, [](Room&, Leases& all) { all[0].give_back(); }));
}

TEST_CASE("pool waiting: a try makes no system call, however much is stale", "[process]") {
    if (support::under_asan) {
        return support::skip("pool waiting: a try makes no system call",
                             "address sanitizer makes system calls of its own");
    }
    // Every slot is taken again by whom it was taken before, so its hint stays.
    auto room = make_full_room(4096);
    std::vector<lagoon::Lease<Item>> held;
    for (int i = 0; i < 4096; ++i) {
        held.push_back(room->items.try_acquire());
        held.back().give_back();
        held.back() = room->items.try_acquire();
        REQUIRE(held.back());
    }
    CHECK(without_system_calls([&] {
              for (int i = 0; i < 3; ++i) {
                  if (room->items.try_acquire()) ::_exit(1);
                  if (room->items.try_acquire_or_create([](Item&) {})) ::_exit(2);
                  if (!room->items.try_acquire_n(2).empty()) ::_exit(3);
              }
          }) == support::exited(0));
    held.back().give_back();
    held.resize(4095);
    CHECK(room->items.try_acquire());
}

TEST_CASE("pool waiting: max_waiters holds for several who come at once, and for acquire_n") {
    auto room = make_full_room(2, 1);
    auto held = room->items.acquire_n(2);
    std::stop_source source;
    std::atomic<int> turned_away{0};
    std::atomic<std::uint64_t> most{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i) {
        threads.emplace_back([&, i] {
            const auto outcome = i % 2 == 0 ? room->items.acquire(source.get_token()).status()
                                            : (room->items.acquire_n(2, source.get_token()).empty()
                                                   ? Outcome::too_many_waiters
                                                   : Outcome::ok);
            if (outcome != Outcome::cancelled) ++turned_away;
            const std::uint64_t waits = room->items.stats().waits;
            std::uint64_t before = most;
            while (before < waits && !most.compare_exchange_weak(before, waits)) {
            }
        });
    }
    support::wait_until([&] { return turned_away >= 7; });
    source.request_stop();
    for (auto& thread : threads) thread.join();
    CHECK(most <= 1);
}

TEST_CASE("pool waiting: a million acquisitions and returns make no system call", "[process]") {
    if (support::under_asan) {
        return support::skip("pool waiting: a million acquisitions and returns",
                             "address sanitizer makes system calls of its own");
    }
    auto room = make_full_room(100);
    const int pairs = support::under_tsan ? 100'000 : 1'000'000;
    // A filter that can fail: the first call of any kind kills.
    REQUIRE(without_system_calls([] { (void)::getppid(); }) == support::killed_by_a_call);
    SECTION("of one's own slot again") {
        CHECK(without_system_calls([&] {
                  for (int i = 0; i < pairs; ++i) {
                      auto lease = room->items.try_acquire();
                      ++lease->number;
                  }
              }) == support::exited(0));
        std::int64_t sum = 0;
        for (const auto& slot : room->items.snapshot()) sum += slot.value->number;
        CHECK(sum == 2 * pairs);
    }
    SECTION("with 64 held, a random one given back and another taken") {
        CHECK(without_system_calls([&] {
                  std::array<lagoon::Lease<Item>, 64> held;
                  for (auto& lease : held) lease = room->items.try_acquire();
                  std::uint64_t random = 1;
                  for (int i = 0; i < pairs; ++i) {
                      random = random * 6364136223846793005 + 1442695040888963407;
                      auto& lease = held[random >> 58];
                      lease.give_back();
                      lease = room->items.acquire();
                      ++lease->number;
                  }
              }) == support::exited(0));
    }
    SECTION("of waiting forms that need not wait, and of attempts in vain") {
        CHECK(without_system_calls([&] {
                  std::array<lagoon::Lease<Item>, 50> held;
                  for (auto& lease : held) lease = room->items.acquire();
                  for (int i = 0; i < pairs / 10; ++i) {
                      auto lease = room->items.acquire_or_create([](Item&) {});
                  }
              }) == support::exited(0));
    }
}
