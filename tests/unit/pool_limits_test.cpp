// pool_limits_test.cpp: factories and hooks that take too long.
#include <lagoon/lagoon.hpp>

#include <catch2/catch.hpp>
#include <csignal>
#include <runtime/reap.hpp>

#include "support/pools.hpp"

using lagoon::Outcome;
using lagoon::Phase;
using lagoon::PoolLimits;
using support::text_of;
using support::unique_name;
using namespace std::chrono_literals;

namespace {

using Until = std::chrono::steady_clock::time_point;

struct Item {
    std::int64_t number = 0;
};
using Numbers = std::vector<std::int64_t>;

/// What the next arena's pool is made with.
lagoon::PoolOptions asked;

struct Room {
    lagoon::Pool<Item> items{"items", asked};
};
using Arena = lagoon::Arena<Room>;

Arena make_room(const lagoon::PoolOptions& options) {
    asked = options;
    return Arena::create(unique_name("limits"));
}
std::string refusal(const PoolLimits& limits) {
    return text_of([&] { return make_room({.capacity = 1, .limits = limits}); });
}

/// Is at work for longer than it may.
void overrun(Until until) {
    REQUIRE(until != Until::max());
    support::wait_until([&] { return std::chrono::steady_clock::now() > until; });
}
void make_late(Item& item, lagoon::Slot, Until until) {
    item.number = 7;
    overrun(until);
}
bool about_an_hour(Until until) {
    const auto left = until - std::chrono::steady_clock::now();
    return left > 50min && left <= 1h;
}
/// Somebody has died with the only resource.
void die_with_it(const Arena& room) {
    const support::Flag there;
    support::Child child{[&]() -> int {
        const auto lease = room->items.try_acquire();
        if (lease) there.raise();
        support::wait_for_death();
    }};
    there.wait();
    CHECK(child.kill() == support::killed_by(SIGKILL));
    // And nobody has run a hook for it.
    support::wait_until([&] {
        (void)lagoon::detail::repair_the_dead(*lagoon::detail::attachment_of(&room->items));
        return room->items.stats().dirty == 1;
    });
}

}  // namespace

TEST_CASE("pool limits: what was made too late is destroyed, and its place given back") {
    auto room = make_room({.capacity = 2, .limits = {.create = 1ms}});
    Numbers destroyed;
    lagoon::PoolHooks<Item> hooks{.destroy = [&](Item& item) { destroyed.push_back(item.number); }};
    lagoon::Lease<Item> none;
    SECTION("by a factory that fills it in place") {
        room.hooks(room->items, hooks);
        none = room->items.acquire_or_create(make_late);
    }
    SECTION("by a factory that returns it, and is not told") {
        room.hooks(room->items, hooks);
        none = room->items.try_acquire_or_create([] {
            overrun(std::chrono::steady_clock::now() + 1ms);
            return Item{7};
        });
    }
    SECTION("by on_create") {
        hooks.on_create = [](Item&, lagoon::Slot, Until until) { overrun(until); };
        room.hooks(room->items, hooks);
        none = room->items.acquire_or_create_for(1h, [](Item& item) { item.number = 7; });
    }
    CHECK(none.status() == Outcome::timed_out);
    CHECK(none.phase() == Phase::creating);
    CHECK(destroyed == Numbers{7});
    const auto stats = room->items.stats();
    CHECK(stats.create_failed == 1);
    CHECK(stats.created == 0);
    CHECK(stats.empty == 2);
    CHECK(support::is_blank(room->items, 0));
}

TEST_CASE("pool limits: what is made in time is lent, and its factory told how long it has") {
    Until told{};
    const auto make = [&](Item& item, lagoon::Slot, Until until) {
        item.number = 1;
        told = until;
    };
    SECTION("a limit") {
        auto room = make_room({.capacity = 1, .limits = {.create = 1h}});
        CHECK(room->items.acquire_or_create(make)->number == 1);
        CHECK(about_an_hour(told));
    }
    SECTION("none") {
        auto room = make_room({.capacity = 1});
        CHECK(room->items.acquire_or_create(make)->number == 1);
        CHECK(told == Until::max());
    }
}

TEST_CASE("pool limits: a late creation is a failure, after which the next one waits") {
    auto room =
        make_room({.capacity = 1, .creation = {.retry_after = 1h}, .limits = {.create = 1ms}});
    CHECK_FALSE(room->items.acquire_or_create(make_late));
    CHECK(room->items.try_acquire_or_create(make_late).phase() == Phase::retrying);
}

TEST_CASE("pool limits: what add() brings has no limit") {
    auto room = make_room({.capacity = 1, .limits = {.create = 1ms}});
    bool limited = true;
    room.hooks(room->items, {.on_create = [&](Item&, lagoon::Slot, Until until) {
                   limited = until != Until::max();
                   overrun(std::chrono::steady_clock::now() + 1ms);
               }});
    CHECK(room->items.add(Item{1}));
    CHECK_FALSE(limited);
}

TEST_CASE("pool limits: a check that ends too late has not passed, whatever it says") {
    auto room =
        make_room({.capacity = 1, .life = {.validate_after = 0ns}, .limits = {.check = 1ms}});
    room->items.add(Item{1});
    int destroyed = 0;
    room.hooks(room->items, {.check =
                                 [](Item&, lagoon::Slot, Until until) {
                                     overrun(until);
                                     return true;
                                 },
                             .destroy = [&](Item&) { ++destroyed; }});
    const auto none = room->items.acquire_for(1ns);
    CHECK(none.status() == Outcome::timed_out);
    CHECK(none.phase() == Phase::checking);
    CHECK(destroyed == 1);
    CHECK(room->items.stats().ended_by_check == 1);
}

TEST_CASE("pool limits: after a death a check or reset has its own limit", "[child]") {
    Until told{};
    bool late = false;
    int destroyed = 0;
    const auto work = [&](Item&, lagoon::Slot, Until until) {
        told = until;
        if (late) overrun(until);
        return true;
    };
    lagoon::PoolOptions options{.capacity = 1};
    lagoon::PoolHooks<Item> hooks{.destroy = [&](Item&) { ++destroyed; }};
    Phase phase = Phase::none;
    bool resets = false;
    SECTION("check") {
        hooks.check = work;
        phase = Phase::checking;
    }
    SECTION("reset") {
        hooks.reset = work;
        options.on_death = lagoon::OnDeath::reset_then_reuse;
        phase = Phase::resetting;
        resets = true;
    }
    SECTION("reset, in a pool whose resources have lives") {
        hooks.reset = work;
        options.on_death = lagoon::OnDeath::reset_then_reuse;
        options.life = {.max_uses = 9};
        phase = Phase::resetting;
        resets = true;
    }
    SECTION("check, in time") {
        hooks.check = work;
        options.limits = {.check = 1h, .reset = 1ms};
    }
    SECTION("reset, in time") {
        hooks.reset = work;
        options.on_death = lagoon::OnDeath::reset_then_reuse;
        options.limits = {.check = 1ms, .reset = 1h};
    }
    late = phase != Phase::none;
    if (late) options.limits = resets ? PoolLimits{.reset = 1ms} : PoolLimits{.check = 1ms};
    auto room = make_room(options);
    room->items.add(Item{1});
    room.hooks(room->items, hooks);
    die_with_it(room);
    const auto lease = room->items.acquire_for(1ns);
    CHECK(lease.phase() == phase);
    CHECK(lease.status() == (late ? Outcome::timed_out : Outcome::ok));
    CHECK(destroyed == (late ? 1 : 0));
    if (!late) CHECK(about_an_hour(told));
    CHECK(room->items.stats().idle == 0);
    CHECK(room->items.stats().dirty == 0);
}

TEST_CASE("pool limits: limits that cannot be are refused by name") {
    CHECK(refusal({.create = -1ns})
              .find("pool 'items' has a limits.create of -1 ns; it can be "
                    "from 0 to a year") != std::string::npos);
    CHECK(refusal({.check = -1ns}).find("limits.check of -1 ns") != std::string::npos);
    CHECK(refusal({.reset = 24h * 367}).find("limits.reset of ") != std::string::npos);
    CHECK(refusal({.create = 24h, .check = 1ns, .reset = 1s}).empty());
}

TEST_CASE("pool limits: every number of them in a file is checked when the file is opened") {
    using Policy = lagoon::detail::CreationPolicy;
    const auto room = make_room({.capacity = 1});
    Policy& policy = support::body_of(room->items).creation;
    for (std::uint64_t* limit :
         {&policy.create_limit_ns, &policy.check_limit_ns, &policy.reset_limit_ns}) {
        *limit = std::uint64_t{1} << 60;
        const auto open = [&] { return lagoon::ArenaView::open(room.name()); };
        CHECK(support::code_of(open) == lagoon::Errc::corrupt);
        CHECK(text_of(open).find("or its limits") != std::string::npos);
        *limit = 0;
        CHECK_NOTHROW(open());
    }
}
