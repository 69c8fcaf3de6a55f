// pool_queue_test.cpp: waiters are served in the order of their coming, where the pool says so.
#include <lagoon/lagoon.hpp>

#include <signal.h>

#include <catch2/catch.hpp>
#include <mutex>
#include <thread>
#include <vector>

#include "support/pools.hpp"

using lagoon::Outcome;
using lagoon::WaitOrder;
using support::Child;
using namespace std::chrono_literals;

namespace {

struct Item {
    std::int64_t number = 0;
};
struct Room {
    explicit Room(lagoon::Count capacity = 1, std::uint32_t most = 0)
        : items{"items",
                {.capacity = capacity, .max_waiters = most, .wait_order = WaitOrder::first_come}} {}
    lagoon::Pool<Item> items;
};
using Arena = lagoon::Arena<Room>;

Arena make_room(std::uint64_t capacity, std::uint64_t filled, const lagoon::ArenaOptions& with = {},
                std::uint32_t most_waiters = 0) {
    auto room = Arena::create(support::unique_name("queue"), with, capacity, most_waiters);
    for (std::uint64_t i = 0; i < filled; ++i) room->items.add(Item{});
    return room;
}
void wait_for_waiters(const Arena& room, std::uint64_t count) {
    support::wait_until([&] { return room->items.stats().waiting == count; });
}

/// Waits as a process of its own, and ends when it has had what it waited for.
Child waiting_process(const Arena& room) {
    const std::uint64_t before = room->items.stats().waiting;
    Child child{[name = room.name()] {
        const auto mine = Arena::open(name);
        return mine->items.acquire() ? 0 : 1;
    }};
    wait_for_waiters(room, before + 1);
    return child;
}

/// Threads that come to the queue one after another, and what they say they have had.
class Crowd {
public:
    explicit Crowd(const Arena& room) : room_{room} {}
    ~Crowd() { join(); }
    Crowd(const Crowd&) = delete;
    Crowd& operator=(const Crowd&) = delete;

    /// `wait` returns a lease or several, which are given back when it has been noted.
    template <class Wait>
    void add(int name, Wait&& wait) {
        const std::uint64_t before = room_->items.stats().waiting;
        threads_.emplace_back([this, name, wait] {
            const auto had = wait(room_->items);
            const std::lock_guard lock{mutex_};
            served_.push_back(name);
        });
        wait_for_waiters(room_, before + 1);
    }
    void add_one(int name) {
        add(name, [](auto& items) { return items.acquire(); });
    }
    std::vector<int> join() {
        for (auto& thread : threads_) thread.join();
        threads_.clear();
        return served_;
    }

private:
    const Arena& room_;
    std::vector<std::thread> threads_;
    std::mutex mutex_;
    std::vector<int> served_;
};

void require_at_rest(const Arena& room, std::uint64_t idle) {
    const auto stats = room->items.stats();
    CHECK(stats.idle == idle);
    CHECK(stats.waiting == 0);
    CHECK(stats.late_wakes == 0);
    CHECK(stats.damaged == 0);
}

}  // namespace

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
    CHECK_FALSE(room->items.acquire_n_for(1ms, 2).size() == 2);
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
    Child first{[name = room.name()] {
        const auto mine = Arena::open(name);
        return mine->items.acquire_or_create([] { return Item{}; }) ? 0 : 1;
    }};
    wait_for_waiters(room, 1);
    support::stop(first);
    held[0].discard();
    // The only place is due to the first.
    CHECK_FALSE(room->items.try_acquire_or_create([] { return Item{}; }));
    held[1].discard();
    CHECK(room->items.try_acquire_or_create([] { return Item{}; }));
    ::kill(first.pid(), SIGCONT);
    CHECK(first.wait() == support::exited(0));
    CHECK(room->items.stats().late_wakes == 0);
}

TEST_CASE("pool queue: whoever gives up leaves its turn to the next") {
    auto room = make_room(1, 1);
    auto held = room->items.acquire();
    std::stop_source enough;
    Crowd crowd{room};
    crowd.add(1, [&](auto& items) { return items.acquire(enough.get_token()); });
    crowd.add_one(2);
    enough.request_stop();
    wait_for_waiters(room, 1);
    held.give_back();
    CHECK(crowd.join() == std::vector{1, 2});
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
    CHECK(room->items.stats().idle == 2);
    CHECK(room->items.stats().waiting == 0);
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
