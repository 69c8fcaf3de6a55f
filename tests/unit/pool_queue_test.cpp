// pool_queue_test.cpp: waiters are served in the order of their coming, where the pool says so.
#include <lagoon/lagoon.hpp>

#include <atomic>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

#include "runtime/pool_body.hpp"
#include "support/queues.hpp"

using lagoon::Outcome;
using lagoon::WaitOrder;
namespace detail = lagoon::detail;
using namespace support::queues;
using namespace std::chrono_literals;

TEST_CASE("pool queue: whoever has waited longest is served") {
    auto room = make_room(
        1, 1, {.ownership = GENERATE(lagoon::Ownership::biased, lagoon::Ownership::unbiased)});
    auto held = room->items.acquire();
    Crowd crowd{room};
    for (int name = 0; name < 8; ++name) crowd.add_one(name);
    held.give_back();
    CHECK(crowd.join() == std::vector{0, 1, 2, 3, 4, 5, 6, 7});
    require_at_rest(room, 1);
}

TEST_CASE("pool queue: one who wants several is not passed by those who want one") {
    auto room = make_room(3, 3);
    auto held = room->items.acquire_n(3);
    Crowd crowd{room};
    crowd.add(1, [](auto& items) { return items.acquire_n(2); });
    crowd.add_one(2);
    held.pop_back();
    CHECK(room->items.idle() == 1);
    CHECK_FALSE(room->items.try_acquire());
    held.pop_back();
    CHECK(crowd.join() == std::vector{1, 2});
    held.clear();
    CHECK(room->items.acquire_n(3).size() == 3);
    require_at_rest(room, 3);
}

TEST_CASE("pool queue: the first that wants several takes nothing while there are too few") {
    auto room = make_room(3, 3);
    auto held = room->items.acquire_n(3);
    const std::uint64_t before = room->items.stats().acquired;
    std::thread several{[&] { CHECK(room->items.acquire_n(2).size() == 2); }};
    wait_for_waiters(room, 1);
    held.pop_back();
    std::this_thread::sleep_for(2ms);  // it has looked by now
    CHECK(room->items.stats().acquired == before);
    held.pop_back();
    several.join();
    CHECK(room->items.stats().acquired == before + 2);
    held.clear();
    require_at_rest(room, 3);
}

TEST_CASE("pool queue: turns to make a resource are given in the same order") {
    auto room = make_room(3, 0, {}, 0, 1);
    const support::Flag go;
    std::atomic<int> first_to_make = -1;
    Crowd crowd{room};
    std::thread first{[&] {
        const auto lease = room->items.acquire_or_create([&](Item&) { go.wait(); });
        support::wait_until([&] { return room->items.stats().created == 3; });
    }};
    support::wait_until([&] { return room->items.stats().creating == 1; });
    for (int name = 0; name < 2; ++name) {
        crowd.add(name, [&, name](auto& items) {
            return items.acquire_or_create([&](Item&) {
                int nobody = -1;
                first_to_make.compare_exchange_strong(nobody, name);
            });
        });
    }
    std::thread last;
    {
        const std::uint64_t before = room->items.stats().waiting;
        last = std::thread{[&] { CHECK(room->items.acquire()); }};
        wait_for_waiters(room, before + 1);
    }
    go.raise();
    support::wait_until([&] { return room->items.stats().created >= 2; });
    // The second of them has what the first gives back, or a turn of its own.
    (void)crowd.join();
    room->items.add(Item{});
    first.join();
    last.join();
    CHECK(first_to_make == 0);
    CHECK(room->items.stats().late_wakes == 0);
}

TEST_CASE("pool queue: a hook that takes from its own pool stands behind nobody", "[child]") {
    auto room = make_room(2, 2);
    auto held = room->items.acquire_n(2);
    std::atomic<bool> inner = false;
    room.hooks(room->items, {.check = [&](Item&) {
                   inner = static_cast<bool>(room->items.acquire());
                   return true;
               }});
    // A borrower dies with one of them, which is to be checked.
    held.clear();
    CHECK(support::in_child([&] {
              const auto mine = Arena::open(room.name());
              const auto lease = mine->items.acquire();
              ::_exit(lease ? 0 : 1);
              return 1;
          }) == support::exited(0));
    auto other = room->items.acquire();
    CHECK(other);
    CHECK(inner == false);
    // Whoever of the two comes to it runs the hook.
    std::thread several{[&] { CHECK(room->items.acquire_n(2).size() == 2); }};
    wait_for_waiters(room, 1);
    other.give_back();
    (void)room.reap();
    several.join();
    CHECK(inner);
    require_at_rest(room, 2);
}

TEST_CASE("pool queue: a mark of one who does not wait holds up nobody") {
    auto room = make_room(1, 1);
    detail::PoolObject& pool = support::object_of(room->items);
    // As who takes a dead one's lane finds it.
    detail::announce_wait(pool, detail::lane_of(&pool));
    std::thread{[&] { CHECK(room->items.try_acquire()); }}.join();
    detail::withdraw_wait(pool, detail::lane_of(&pool));
    require_at_rest(room, 1);
}

TEST_CASE("pool queue: threads on the process's lane stand where the first of them stands") {
    auto room = make_room(1, 1, {.max_threads = 2});
    auto held = room->items.acquire();
    const support::Flag own_lane;
    const support::Flag go;
    std::vector<int> served;
    std::thread with_lane{[&] {
        CHECK_FALSE(room->items.try_acquire());
        own_lane.raise();
        go.wait();
        const auto lease = room->items.acquire();
        served.push_back(2);
    }};
    own_lane.wait();
    const auto share = [&](int name) {
        return std::thread{[&, name] {
            const auto lease = room->items.acquire();
            served.push_back(name);
        }};
    };
    std::thread one = share(1);
    wait_for_waiters(room, 1);
    go.raise();
    wait_for_waiters(room, 2);
    std::thread three = share(3);
    support::wait_until([&] { return room->items.stats().waits == 3; });
    std::this_thread::sleep_for(2ms);  // it stands there, too, by now
    held.give_back();
    one.join();
    with_lane.join();
    three.join();
    CHECK(served[0] == 1);
    CHECK(served.size() == 3);
    require_at_rest(room, 1);
}

TEST_CASE("pool queue: whoever gives up leaves its turn to the next") {
    auto room = make_room(1, 1);
    auto held = room->items.acquire();
    std::stop_source enough;
    Outcome given_up = Outcome::ok;
    Outcome served = Outcome::closed;
    Crowd crowd{room};
    crowd.add(1, [&](auto& items) {
        auto lease = items.acquire(enough.get_token());
        given_up = lease.status();
        return lease;
    });
    crowd.add(2, [&](auto& items) {
        auto lease = items.acquire();
        served = lease.status();
        return lease;
    });
    enough.request_stop();
    wait_for_waiters(room, 1);
    held.give_back();
    CHECK(crowd.join().size() == 2);
    CHECK(given_up == Outcome::cancelled);
    CHECK(served == Outcome::ok);
    require_at_rest(room, 1);
}

TEST_CASE("pool queue: threads that share the process's lane all wait and all are served") {
    auto room = make_room(2, 2, {.max_threads = 1});
    auto held = room->items.acquire_n(2);
    std::vector<std::thread> threads;
    std::atomic<int> served{0};
    for (int i = 0; i < 6; ++i) {
        threads.emplace_back([&, i] {
            served +=
                i % 3 == 0 ? room->items.acquire_n(2).size() == 2 : bool{room->items.acquire()};
        });
    }
    wait_for_waiters(room, 1);
    held.clear();
    for (auto& thread : threads) thread.join();
    CHECK(served == 6);
    require_at_rest(room, 2);
}

TEST_CASE("pool queue: one who is turned away has taken nobody's turn") {
    auto room = make_room(1, 1, {}, 1);
    auto held = room->items.acquire();
    Crowd crowd{room};
    crowd.add_one(1);
    CHECK(room->items.acquire().status() == Outcome::too_many_waiters);
    held.give_back();
    CHECK(crowd.join() == std::vector{1});
    require_at_rest(room, 1);
}

TEST_CASE("pool queue: many take from a pool larger than a word of hints") {
    constexpr std::uint64_t capacity = 200;
    auto room = make_room(capacity, capacity);
    auto held = room->items.acquire_n(capacity);
    Crowd crowd{room};
    for (int name = 0; name < 3; ++name) crowd.add_one(name);
    held.erase(held.begin() + 77);
    CHECK(crowd.join() == std::vector{0, 1, 2});
    held.clear();
    CHECK(room->items.acquire_n(capacity).size() == capacity);
    require_at_rest(room, capacity);
}

TEST_CASE("pool queue: a close ends all waits, and a drain comes to its end") {
    auto room = make_room(2, 2);
    auto held = room->items.acquire_n(2);
    std::vector<Outcome> ends(2);
    Crowd crowd{room};
    for (int name = 0; name < 2; ++name) {
        crowd.add(name, [&, name](auto& items) {
            auto lease = items.acquire();
            ends[static_cast<std::size_t>(name)] = lease.status();
            return lease;
        });
    }
    std::thread drainer{[&] { CHECK(room->items.drain() == Outcome::ok); }};
    crowd.join();
    CHECK(ends == std::vector{Outcome::closed, Outcome::closed});
    held.clear();
    drainer.join();
    CHECK(room->items.stats().late_wakes == 0);
}

TEST_CASE("pool queue: what a file says of it is checked") {
    const auto room = make_room(1, 1);
    const auto open = [&] { return lagoon::ArenaView::open(room.name()); };
    auto& body = support::body_of(room->items);
    auto& object = support::object_of(room->items);
    const auto refused = [&](const char* what) {
        CHECK(support::code_of(open) == lagoon::Errc::corrupt);
        CHECK(support::text_of(open).find(what) != std::string::npos);
    };
    for (const std::uint16_t order : {std::uint16_t{0}, std::uint16_t{2}}) {
        body.wait_order = order;
        refused("policy");
    }
    body.wait_order = 1;
    const auto place = object.queue;
    object.queue.from_object += 8;
    refused("the place of its lanes");
    object.queue = place;
    object.queue.from_object = object.claims.from_object;
    refused("overlaps");
    object.queue = place;
    CHECK_NOTHROW(open());
    struct Odd {
        lagoon::Pool<Item> items{"items", {.capacity = 1, .wait_order = static_cast<WaitOrder>(2)}};
    };
    const std::string text =
        support::text_of([] { return lagoon::Arena<Odd>::create(support::unique_name("queue")); });
    CHECK(text.find("a wait_order of 2; it can be WaitOrder::any or") != std::string::npos);
}
