// pool_queue_stopped_test.cpp: in a queue, who is stopped keeps what is due to it, and who dies
// keeps nothing.
#include <lagoon/lagoon.hpp>

#include <sys/syscall.h>

#include <atomic>
#include <cerrno>
#include <optional>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

#include "runtime/pool_life.hpp"
#include "support/queues.hpp"
#include "support/sandbox.hpp"

using lagoon::Outcome;
using support::Child;
using namespace support::queues;
using namespace std::chrono_literals;

TEST_CASE("pool queue: nobody who comes later takes what is due to one who waits", "[child]") {
    auto room = make_room(1, 1);
    auto held = room->items.acquire();
    Child first = waiting_process(room);
    support::stop(first);
    held.give_back();
    CHECK(room->items.idle() == 1);
    CHECK(room->items.try_acquire().status() == Outcome::would_block);
    CHECK(room->items.acquire_for(1ms).status() == Outcome::timed_out);
    CHECK(room->items.try_acquire_n(1).empty());
    CHECK_FALSE(room->items.try_acquire_or_create([] { return Item{}; }));
    ::kill(first.pid(), SIGCONT);
    CHECK(first.wait() == support::exited(0));
    CHECK(room->items.try_acquire());
    require_at_rest(room, 1);
}

TEST_CASE("pool queue: a stopped process keeps what is due to it and no more", "[child]") {
    auto room = make_room(2, 2);
    auto held = room->items.acquire_n(2);
    Child first = waiting_process(room);
    support::stop(first);
    Crowd crowd{room};
    crowd.add_one(2);
    crowd.add_one(3);
    held.clear();  // one for the stopped, the other for each of the two in turn
    CHECK(crowd.join() == std::vector{2, 3});
    CHECK(room->items.acquire_n_for(1ms, 2).empty());
    CHECK(room->items.try_acquire());
    SECTION("until it goes on") {
        ::kill(first.pid(), SIGCONT);
        CHECK(first.wait() == support::exited(0));
    }
    SECTION("until it dies") {
        first.kill();
        (void)support::reap_dead(room);
    }
    CHECK(room->items.acquire_n(2).size() == 2);
    require_at_rest(room, 2);
}

TEST_CASE("pool queue: what was due to one who dies is the next one's", "[child]") {
    auto room = make_room(1, 1);
    auto held = room->items.acquire();
    Child first = waiting_process(room);
    Crowd crowd{room};
    crowd.add_one(2);
    SECTION("before it is there") {
        first.kill();
        held.give_back();
    }
    SECTION("when it is there") {
        support::stop(first);
        held.give_back();
        CHECK(room->items.idle() == 1);
        first.kill();
    }
    CHECK(crowd.join() == std::vector{2});
    (void)support::reap_dead(room, 0);
    require_at_rest(room, 1);
}

TEST_CASE("pool queue: places are given in the same order", "[child]") {
    auto room = make_room(1, 0);
    const auto make = [](auto& items) {
        return items.acquire_or_create([](Item& item) { ++item.number; });
    };
    auto held = make(room->items);
    Crowd crowd{room};
    for (int name = 0; name < 3; ++name) crowd.add(name, make);
    SECTION("a place") { held.discard(); }
    SECTION("what comes back") { held.give_back(); }
    CHECK(crowd.join() == std::vector{0, 1, 2});
    require_at_rest(room, 1);
}

TEST_CASE("pool queue: who is content with a place leaves what is idle to others", "[child]") {
    auto room = make_room(2, 2);
    auto held = room->items.acquire_n(2);
    std::optional<Child> first;
    SECTION("as who brings a factory") { first.emplace(making_process(room)); }
    SECTION("as whose process has one") {
        first.emplace([&] {
            room.hooks(room->items, {.factory = [] { return Item{}; }});
            return room->items.acquire() ? 0 : 1;
        });
        wait_for_waiters(room, 1);
    }
    support::stop(*first);
    held[0].discard();
    // The only place is due to the first.
    CHECK_FALSE(room->items.try_acquire_or_create([] { return Item{}; }));
    held[1].discard();
    CHECK(room->items.try_acquire_or_create([] { return Item{}; }));
    ::kill(first->pid(), SIGCONT);
    CHECK(first->wait() == support::exited(0));
    CHECK(room->items.stats().late_wakes == 0);
}

TEST_CASE("pool queue: who has one made leaves other places to those behind it", "[child]") {
    auto room = make_room(2, 0);
    const support::Flag begun;
    const support::Flag may_end;
    Child first{[&] {
        room.hooks(room->items, {.factory = [&] {
                       begun.raise();
                       may_end.wait();
                       return Item{};
                   }});
        return room->items.acquire() ? 0 : 1;
    }};
    begun.wait();
    support::stop(first);
    CHECK(room->items.try_acquire_or_create([] { return Item{}; }));
    ::kill(first.pid(), SIGCONT);
    may_end.raise();
    CHECK(first.wait() == support::exited(0));
    CHECK(room->items.stats().late_wakes == 0);
}

TEST_CASE("pool queue: a place that is left goes to whoever shares the lane of one who wants none",
          "[child]") {
    auto room = make_room(3, 3, {.max_threads = 1});
    auto held = room->items.acquire_n(3);
    const support::Flag had;
    const support::Flag may_end;
    Child either = waiting_process(room, [&](auto& items) {
        const auto lease = items.acquire_or_create([] { return Item{}; });
        had.raise();
        may_end.wait();
        return bool{lease};
    });
    std::thread two{[&] { (void)room->items.acquire_n(2); }};
    wait_for_waiters(room, 2);
    std::thread maker{[&] { (void)room->items.acquire_or_create([] { return Item{7}; }); }};
    support::wait_until([&] { return room->items.stats().waits == 3; });
    std::this_thread::sleep_for(2ms);  // it sleeps by now
    support::stop(either);
    held[2].discard();
    held[1].give_back();
    // Takes what is idle, and leaves the place.
    ::kill(either.pid(), SIGCONT);
    had.wait();
    maker.join();
    may_end.raise();
    held.clear();
    two.join();
    CHECK(either.wait() == support::exited(0));
    require_at_rest(room, 3);
}

TEST_CASE("pool queue: a stopped process that a place would serve leaves what is idle", "[child]") {
    auto room = make_room(2, 2);
    auto held = room->items.acquire_n(2);
    Child first = making_process(room);
    support::stop(first);
    held[0].discard();
    SECTION("to who asks") {
        held[1].give_back();
        CHECK(room->items.try_acquire());
    }
    SECTION("to who waits") {
        Crowd crowd{room};
        crowd.add_one(2);
        held[1].give_back();
        CHECK(crowd.join() == std::vector{2});
    }
    CHECK(room->items.idle() == 1);
    ::kill(first.pid(), SIGCONT);
    CHECK(first.wait() == support::exited(0));
    CHECK(room->items.stats().late_wakes == 0);
}

TEST_CASE("pool queue: one who gathers keeps its turn when a check does not pass", "[child]") {
    struct Checked {
        lagoon::Pool<Item> items{
            "items",
            {.capacity = 2, .life = {.validate_after = 0ns}, .wait_order = WaitOrder::first_come}};
    };
    auto room = lagoon::Arena<Checked>::create(support::unique_name("queue"));
    const support::Shared<std::atomic<int>> checks;  // also of the child, which is forked with it
    room.hooks(room->items, {.check = [&](Item&) { return ++*checks != 3; }});
    for (int i = 0; i < 2; ++i) room->items.add(Item{});
    auto held = room->items.acquire_n(2);
    const support::Shared<std::atomic<int>> served;
    int of_first = -1;
    std::thread first{[&] {
        const auto leases = room->items.acquire_n(2);
        of_first = (*served)++;
    }};
    wait_for_waiters(room, 1);
    Child second{[&, name = room.name()] {
        const auto mine = lagoon::Arena<Checked>::open(name);
        const auto lease = mine->items.acquire();
        return (*served)++;
    }};
    wait_for_waiters(room, 2);
    support::stop(second);
    held.clear();
    // One of the two is ended, and the other is due to the first, which waits again.
    support::wait_until([&] { return room->items.stats().ended_by_check == 1; });
    support::wait_until([&] { return room->items.idle() == 1; });
    CHECK(room->items.stats().waiting == 2);
    CHECK_FALSE(room->items.try_acquire());
    ::kill(second.pid(), SIGCONT);
    std::this_thread::sleep_for(2ms);  // it has looked by now
    room->items.add(Item{});
    first.join();
    CHECK(of_first == 0);
    CHECK(second.wait() == support::exited(1));
}

TEST_CASE("pool queue: what is past its lifetime is due to nobody", "[child]") {
    struct Aged {
        lagoon::Pool<Item> items{
            "items",
            {.capacity = 2, .life = {.max_lifetime = 1h}, .wait_order = WaitOrder::first_come}};
    };
    auto room = lagoon::Arena<Aged>::create(support::unique_name("queue"));
    for (int i = 0; i < 2; ++i) room->items.add(Item{});
    auto held = room->items.acquire_n(2);
    Child first{[name = room.name()] {
        const auto mine = lagoon::Arena<Aged>::open(name);
        return mine->items.acquire() ? 0 : 1;
    }};
    support::wait_until([&] { return room->items.stats().waiting == 1; });
    support::stop(first);
    const std::uint64_t old = held[0].index();
    held.clear();
    // Y8 relaxed store, no pair: nobody has the slot.
    lagoon::detail::record_of(support::body_of(room->items), old)
        .due_ns.store(1, std::memory_order_relaxed);
    CHECK_FALSE(room->items.try_acquire());
    CHECK(room->items.idle() == 2);
    ::kill(first.pid(), SIGCONT);
    CHECK(first.wait() == support::exited(0));
}

TEST_CASE("pool queue: a hook takes what is due to others", "[child]") {
    auto room = make_room(3, 3);
    bool inner = false;
    room.hooks(room->items,
               {.destroy = [&](Item&) { inner = static_cast<bool>(room->items.try_acquire()); }});
    auto held = room->items.acquire_n(3);
    Child first = waiting_process(room, [](auto& items) { return !items.acquire_n(2).empty(); });
    support::stop(first);
    held[0].give_back();
    CHECK_FALSE(room->items.try_acquire());
    held[1].mark_broken();
    held[1].give_back();
    (void)room.reap();
    CHECK(inner);
    held[2].give_back();
    ::kill(first.pid(), SIGCONT);
    CHECK(first.wait() == support::exited(0));
}

TEST_CASE("pool queue: all are woken also where only one word can be watched", "[child]") {
    const auto refuse = [] { return support::refuse({{SYS_futex_waitv}}, ENOSYS); };
    if (support::in_child([&] { return refuse() ? 0 : 1; }) != support::exited(0)) {
        return support::skip("pool queue: without futex_waitv", "no seccomp filters");
    }
    auto room = make_room(1, 0);
    auto held = room->items.acquire_or_create([] { return Item{}; });
    const std::uint64_t before = room->items.stats().waiting;
    Child other{[&, name = room.name()] {
        if (!refuse()) return 2;
        const auto mine = Arena::open(name);
        return mine->items.acquire_or_create([] { return Item{}; }) ? 0 : 1;
    }};
    wait_for_waiters(room, before + 1);
    held.discard();
    CHECK(other.wait() == support::exited(0));
    CHECK(room->items.stats().late_wakes == 0);
}
