// pool_creation_test.cpp: how many resources are made at one time, and when it is tried again.
#include <lagoon/lagoon.hpp>

#include <catch2/catch.hpp>
#include <csignal>
#include <stdexcept>
#include <thread>

#include "support/pools.hpp"

using lagoon::Outcome;
using lagoon::Phase;
using lagoon::PoolCreation;
using support::Child;
using support::Flag;
using support::text_of;
using support::unique_name;
using namespace std::chrono_literals;

namespace {

struct Item {
    std::int64_t number = 0;
};

/// What the next arena's pool is made with.
lagoon::PoolOptions asked;

struct Room {
    lagoon::Pool<Item> items{"items", asked};
};
using Arena = lagoon::Arena<Room>;

Arena make_room(const PoolCreation& creation, std::uint64_t capacity = 3) {
    asked = {.capacity = capacity, .life = {}, .creation = creation};
    return Arena::create(unique_name("making"));
}
std::string refusal(const PoolCreation& creation) {
    return text_of([&] { return make_room(creation); });
}
Item make_one() { return Item{1}; }
Item make_none() { throw std::runtime_error{"no server answers"}; }
void fail(const Arena& room) {
    CHECK_THROWS_AS(room->items.try_acquire_or_create(make_none), std::runtime_error);
}
/// The time to try again has come.
void let_time_pass(const Arena& room) {
    // Y7 relaxed store, no pair: nobody else is here.
    support::body_of(room->items).making.retry_ns.store(1, std::memory_order_relaxed);
}

/// A process that waits for an item, or makes number 1, and expects this one.
auto wants(const Arena& room, std::int64_t number) {
    return [name = room.name(), number] {
        const auto mine = Arena::open(name);
        const auto lease = mine->items.acquire_or_create(make_one);
        return lease && lease->number == number ? 0 : 1;
    };
}
/// A process in its factory, until it is let go or dies.
class Maker {
public:
    explicit Maker(const Arena& room)
        : process_{[this, name = room.name()] {
              const auto mine = Arena::open(name);
              auto lease = mine->items.acquire_or_create([this] {
                  at_work_.raise();
                  go_on_.wait();
                  return Item{7};
              });
              made_.raise();
              for (;;) ::pause();
              return 0;
          }} {
        at_work_.wait();
    }
    void let_go() {
        go_on_.raise();
        made_.wait();
    }
    void die() { REQUIRE(process_.kill() == support::killed_by(SIGKILL)); }

private:
    Flag at_work_, go_on_, made_;
    Child process_;
};

}  // namespace

TEST_CASE("pool creation: so many factories are at work at one time, over all processes",
          "[child]") {
    auto room = make_room({.at_once = 2});
    const Maker first{room};
    auto made = room->items.try_acquire_or_create(make_one);  // the second one's turn
    CHECK(made);
    const Maker second{room};
    CHECK(room->items.stats().creating == 2);
    bool called = false;
    const auto factory = [&] {
        called = true;
        return Item{2};
    };
    const auto none = room->items.try_acquire_or_create(factory);
    CHECK(none.status() == Outcome::would_block);
    CHECK(none.phase() == Phase::creating);
    const auto late = room->items.acquire_or_create_for(1ms, factory);
    CHECK(late.status() == Outcome::timed_out);
    CHECK(late.phase() == Phase::creating);
    CHECK_FALSE(called);
}

TEST_CASE("pool creation: who waits for its turn takes what comes back before it", "[child]") {
    auto room = make_room({.at_once = 1});
    room->items.add(Item{5});
    auto held = room->items.acquire();
    Maker maker{room};
    Child waiter{wants(room, 5)};
    support::wait_until([&] { return room->items.stats().waiting == 1; });
    held.give_back();
    CHECK(waiter.wait() == support::exited(0));
    CHECK(room->items.stats().created == 1);
    CHECK(room->items.stats().creating == 1);
}

TEST_CASE("pool creation: the next one's turn comes when one is made, has failed, or is dead",
          "[child]") {
    auto room = make_room({.at_once = 1});
    Maker maker{room};
    Child waiter{wants(room, 1)};
    support::wait_until([&] { return room->items.stats().waiting == 1; });
    CHECK(room->items.stats().creating == 1);
    SECTION("made") { maker.let_go(); }
    SECTION("dead") { maker.die(); }
    CHECK(waiter.wait() == support::exited(0));
}

TEST_CASE("pool creation: a factory that fails gives its turn to the next") {
    auto room = make_room({.at_once = 1});
    for (int i = 0; i < 3; ++i) fail(room);
    CHECK(room->items.try_acquire_or_create(make_one));
    CHECK(room->items.stats().create_failed == 3);
    CHECK(room->items.stats().empty == 2);
}

TEST_CASE("pool creation: a failure holds the next one back, further ones for longer") {
    auto room = make_room({.retry_after = 1h, .retry_at_most = 3h});
    CHECK(room->items.stats().retry_in == 0ns);
    const auto held_back = [&] { return room->items.stats().retry_in; };
    const auto about = [](std::chrono::nanoseconds found, std::chrono::nanoseconds longest) {
        return found <= longest && found > longest - 10min;
    };
    fail(room);
    CHECK(about(held_back(), 1h));
    const auto none = room->items.try_acquire_or_create(make_one);
    CHECK(none.status() == Outcome::would_block);
    CHECK(none.phase() == Phase::retrying);
    const auto late = room->items.acquire_or_create_for(1ms, make_one);
    CHECK(late.status() == Outcome::timed_out);
    CHECK(late.phase() == Phase::retrying);
    let_time_pass(room);
    fail(room);
    CHECK(about(held_back(), 2h));
    const std::string text = room->items.explain(Outcome::timed_out);
    CHECK(text.find("creating failed 2 times in a row and is tried again in ") !=
          std::string::npos);
    let_time_pass(room);
    fail(room);
    CHECK(about(held_back(), 3h));
    let_time_pass(room);
    CHECK(room->items.try_acquire_or_create(make_one));
    CHECK(held_back() == 0ns);
    auto two = room->items.acquire();
    CHECK(room->items.try_acquire_or_create(make_one));
    // It begins anew.
    two.discard();
    auto rest = room->items.acquire();
    fail(room);
    CHECK(about(held_back(), 1h));
}

TEST_CASE("pool creation: one tries again when it is time, and the others wait for how it ends",
          "[child]") {
    auto room = make_room({.retry_after = 1h});
    fail(room);
    let_time_pass(room);
    Maker maker{room};
    CHECK(room->items.try_acquire_or_create(make_one).phase() == Phase::retrying);
    SECTION("it is made") {
        maker.let_go();
        CHECK(room->items.try_acquire_or_create(make_one));
    }
    SECTION("its maker dies, which is a failure") {
        maker.die();
        (void)room.reap();
        CHECK(room->items.try_acquire_or_create(make_one).phase() == Phase::retrying);
        CHECK(room->items.stats().retry_in > 50min);
    }
}

TEST_CASE("pool creation: a death in a factory holds the next one back", "[child]") {
    auto room = make_room({.retry_after = 1h});
    Maker maker{room};
    maker.die();
    (void)room.reap();
    CHECK(room->items.acquire_or_create_for(1ms, make_one).phase() == Phase::retrying);
    CHECK(room->items.stats().empty == 3);
}

TEST_CASE("pool creation: who waits tries again by itself when it is time") {
    auto room = make_room({.retry_after = 1ms});
    for (int i = 0; i < 3; ++i) {
        CHECK_THROWS_AS(room->items.acquire_or_create(make_none), std::runtime_error);
    }
    CHECK(room->items.acquire_or_create(make_one));
    CHECK(room->items.stats().late_wakes == 0);  // no sleep was ended by its cap
}

TEST_CASE("pool creation: what comes back is lent while creating is held back, and add() is not") {
    auto room = make_room({.retry_after = 1h});
    fail(room);
    CHECK(room->items.add(Item{4}));
    CHECK(room->items.acquire_or_create(make_none)->number == 4);
    CHECK(room->items.stats().retry_in > 50min);
}

TEST_CASE("pool creation: an on_create that fails is a failed creation, but not of add()") {
    auto room = make_room({.retry_after = 1h});
    room.hooks(room->items, {.on_create = [](Item&) { throw std::runtime_error{"no"}; }});
    CHECK_THROWS_AS(room->items.add(Item{1}), std::runtime_error);
    CHECK(room->items.stats().retry_in == 0ns);
    CHECK_THROWS_AS(room->items.try_acquire_or_create(make_one), std::runtime_error);
    CHECK(room->items.stats().retry_in > 50min);
}

TEST_CASE("pool creation: while what has failed is destroyed the next one is made", "[child]") {
    auto room = make_room({.at_once = 1});
    const Flag at_work, go_on, destroys, made;
    Child maker{[&, name = room.name()] {
        const auto mine = Arena::open(name);
        mine.hooks(mine->items, {.on_create = [](Item&) { throw std::runtime_error{"no"}; },
                                 .destroy =
                                     [&](Item&) {
                                         destroys.raise();
                                         made.wait();
                                     }});
        try {
            (void)mine->items.acquire_or_create([&] {
                at_work.raise();
                go_on.wait();
                return Item{7};
            });
        } catch (const std::runtime_error&) {
            return 0;
        }
        return 1;
    }};
    at_work.wait();
    std::int64_t found = 0;
    std::thread waiter{[&] { found = room->items.acquire_or_create(make_one)->number; }};
    support::wait_until([&] { return room->items.stats().waiting == 1; });
    go_on.raise();
    destroys.wait();
    waiter.join();
    made.raise();
    CHECK(maker.wait() == support::exited(0));
    CHECK(found == 1);
    CHECK(room->items.stats().late_wakes == 0);
}

TEST_CASE("pool creation: nothing is made when something came back while a hook ran") {
    asked = {.capacity = 2, .life = {.max_uses = 9}};
    auto room = Arena::create(unique_name("making"));
    room->items.add(Item{1});
    room->items.add(Item{2});
    lagoon::Lease<Item> held = room->items.acquire();
    room.hooks(room->items, {.destroy = [&](Item&) { held.give_back(); }});
    auto broken = room->items.acquire();
    std::int64_t found = 0;
    std::thread waiter{[&] { found = room->items.acquire_or_create(make_one)->number; }};
    support::wait_until([&] { return room->items.stats().waiting == 1; });
    held->number = 7;
    broken.mark_broken();
    broken.give_back();  // wakes who waits, who destroys it
    waiter.join();
    CHECK(found == 7);
    CHECK(room->items.stats().created == 2);
}

TEST_CASE("pool creation: a policy that cannot be is refused by name") {
    CHECK(refusal({.at_once = 12}).empty());
    CHECK(refusal({.at_once = 13})
              .find("pool 'items' has a creation.at_once of 13; it can be up "
                    "to 12") != std::string::npos);
    CHECK(refusal({.retry_after = -1ns}).find("creation.retry_after of -1; it can be from 0 ns") !=
          std::string::npos);
    CHECK(refusal({.retry_after = 24h * 367}).find("retry_after") != std::string::npos);
    CHECK(refusal({.retry_after = 2s, .retry_at_most = 1s})
              .find("creation.retry_at_most of 1000000000; it can be 0, or from retry_after") !=
          std::string::npos);
    CHECK(refusal({.retry_after = 2s, .retry_at_most = 2s}).empty());
}

TEST_CASE("pool creation: every number of it in a file is checked when the file is opened") {
    using Policy = lagoon::detail::CreationPolicy;
    constexpr std::uint64_t too_long = std::uint64_t{1} << 60;
    const std::vector<void (*)(Policy&)> damages{
        [](Policy& creation) { creation.at_once = 13; },
        [](Policy& creation) { creation.retry_after_ns = too_long; },
        [](Policy& creation) { creation.retry_at_most_ns = too_long; },
        [](Policy& creation) { creation.reserved = 1; },
    };
    const auto room = make_room({.at_once = 1});
    Policy& creation = support::body_of(room->items).creation;
    const Policy sound = creation;
    const auto open = [&] { return lagoon::ArenaView::open(room.name()); };
    for (const auto& damage : damages) {
        damage(creation);
        CHECK(support::code_of(open) == lagoon::Errc::corrupt);
        CHECK(text_of(open).find("its creation policy") != std::string::npos);
        creation = sound;
    }
    CHECK_NOTHROW(open());
}

TEST_CASE("pool creation: a time that is further off than the policy's longest is not minded") {
    auto room = make_room({.retry_after = 1h});
    fail(room);
    // Y7 relaxed store, no pair: nobody else is here.
    support::body_of(room->items)
        .making.retry_ns.store(std::uint64_t{1} << 63, std::memory_order_relaxed);
    CHECK(room->items.stats().retry_in == 0ns);
    CHECK(room->items.try_acquire_or_create(make_one));
}
