// pool_hooks_test.cpp: the code that a pool's resources need, and what its absence means.
// One piece although long: the policies are one table, case by case.
#include <lagoon/lagoon.hpp>

#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <csignal>
#include <stdexcept>
#include <thread>
#include <vector>

#include "runtime/pool_body.hpp"
#include "support/pools.hpp"

using lagoon::OnDeath;
using lagoon::Outcome;
using support::Child;
using support::SlotState;
using support::unique_name;
namespace word = lagoon::detail::word;

namespace {

struct Item {
    std::int64_t number = 0;
};

struct Room {
    explicit Room(std::uint32_t on_death = 0)
        : items{"items", {.capacity = 3, .on_death = static_cast<OnDeath>(on_death)}} {}
    lagoon::Pool<Item> items;
};
using Arena = lagoon::Arena<Room>;

Arena make_room(OnDeath on_death = OnDeath::check_then_reuse) {
    return Arena::create(unique_name("hooks"), {}, static_cast<std::uint32_t>(on_death));
}

/// A borrower that writes `number`, dies, and is found dead by this process.
lagoon::Reaped borrow_and_die(const Arena& room, std::int64_t number = 7) {
    const support::Flag there;
    Child child{[&]() -> int {
        auto lease = room->items.try_acquire();
        if (!lease) return 1;
        lease->number = number;
        there.raise();
        support::wait_for_death();
    }};
    there.wait();
    CHECK(child.kill() == support::killed_by(SIGKILL));
    return support::reap_dead(room);
}

/// A process that registers `hooks`, runs `body` and ends in an orderly way.
template <class Body>
bool elsewhere(const Arena& room, const lagoon::PoolHooks<Item>& hooks, Body&& body) {
    return support::in_child([&] {
               room.hooks(&Room::items, hooks);
               return body() ? 0 : 1;
           }) == support::exited(0);
}

struct Calls {
    std::vector<std::int64_t> created, checked, reset, destroyed;

    lagoon::PoolHooks<Item> hooks(bool passes = true) {
        return {.on_create = [this](Item& item) { created.push_back(item.number); },
                .check =
                    [this, passes](Item& item) {
                        checked.push_back(item.number);
                        return passes;
                    },
                .reset =
                    [this, passes](Item& item) {
                        reset.push_back(item.number);
                        item.number = 0;
                        return passes;
                    },
                .destroy = [this](Item& item) { destroyed.push_back(item.number); }};
    }
};
using Numbers = std::vector<std::int64_t>;

}  // namespace

TEST_CASE("pool hooks: on_create follows factory and add, knowing the slot") {
    auto room = make_room();
    std::vector<lagoon::Slot> slots;
    Numbers numbers;
    room.hooks(room->items, {.on_create = [&](Item& item, lagoon::Slot slot) {
                   slots.push_back(slot);
                   numbers.push_back(item.number);
                   item.number += 1000;
               }});
    room->items.add(Item{1});
    auto a = room->items.try_acquire();
    CHECK(a->number == 1001);
    auto b = room->items.acquire_or_create([] { return Item{2}; });
    CHECK(b->number == 1002);
    CHECK(numbers == Numbers{1, 2});
    REQUIRE(slots.size() == 2);
    CHECK(slots[0] == a.slot());
    CHECK(slots[1] == b.slot());
}

TEST_CASE("pool hooks: a process gives them once, and a child forked from it once again",
          "[child]") {
    auto room = make_room();
    room.hooks(&Room::items, {.check = [](Item&) { return true; }});
    try {
        room.hooks(&Room::items, {});
        FAIL("they were taken twice");
    } catch (const lagoon::Error& error) {
        CHECK(error.errc() == lagoon::Errc::invalid_argument);
        CHECK_THAT(error.what(), Catch::Matchers::Contains("pool 'items'"));
    }
    CHECK(elsewhere(room, {.check = [](Item&) { return false; }}, [] { return true; }));
}

TEST_CASE("pool hooks: what the factory made is destroyed when on_create throws") {
    auto room = make_room();
    std::vector<std::int64_t> destroyed;
    const auto refuse = [](Item&) { throw std::runtime_error{"refused"}; };
    room.hooks(&Room::items, {.on_create = refuse,
                              .destroy = [&](Item& item) { destroyed.push_back(item.number); }});
    CHECK_THROWS_WITH(room->items.acquire_or_create([] { return Item{5}; }), "refused");
    CHECK_THROWS_WITH(room->items.add(Item{6}), "refused");
    CHECK(destroyed == std::vector<std::int64_t>{5, 6});
    CHECK(room->items.stats().empty == 3);
    CHECK(room->items.stats().create_failed == 2);
}

TEST_CASE("pool hooks: what is made where nobody can destroy it waits for who can", "[child]") {
    auto room = make_room();
    std::vector<std::int64_t> destroyed;
    room.hooks(&Room::items, {.destroy = [&](Item& item) { destroyed.push_back(item.number); }});
    CHECK(elsewhere(room, {.on_create = [](Item&) { throw std::runtime_error{"refused"}; }}, [&] {
        try {
            (void)room->items.acquire_or_create([] { return Item{7}; });
        } catch (const std::runtime_error&) {
            return room->items.stats().dirty == 1;
        }
        return false;
    }));
    (void)room.reap();
    CHECK(destroyed == std::vector<std::int64_t>{7});
    CHECK(room->items.stats().empty == 3);
}

TEST_CASE("pool hooks: an on_create that throws fails the creation") {
    auto room = make_room();
    room.hooks(&Room::items, {.on_create = [](Item&) { throw std::runtime_error{"refused"}; }});
    CHECK_THROWS_WITH(room->items.add(Item{1}), "refused");
    CHECK_THROWS_WITH(room->items.acquire_or_create([] { return Item{2}; }), "refused");
    CHECK(room->items.stats().empty == 3);
    CHECK(room->items.stats().create_failed == 2);
    CHECK(room->items.stats().created == 0);
}

TEST_CASE("pool hooks: destroy runs once for discard, clear and close, never for detach") {
    auto room = make_room();
    Calls calls;
    room.hooks(&Room::items, calls.hooks());
    for (const int number : {1, 2, 3}) room->items.add(Item{number});
    auto leases = room->items.acquire_n(3);
    REQUIRE(leases.size() == 3);
    for (auto& lease : leases) {
        if (lease->number == 1) lease.discard();
    }
    CHECK(calls.destroyed == Numbers{1});
    for (auto& lease : leases) {
        if (lease && lease->number == 2) CHECK(lease.detach().number == 2);
    }
    CHECK(calls.destroyed == Numbers{1});
    for (auto& lease : leases) {
        if (lease) lease.give_back();
    }
    CHECK(room->items.clear() == 1);
    CHECK(calls.destroyed == Numbers{1, 3});
    room->items.add(Item{4});
    room->items.add(Item{5});
    auto held = room->items.acquire();
    room->items.close();
    held.give_back();
    std::sort(calls.destroyed.begin(), calls.destroyed.end());
    CHECK(calls.destroyed == Numbers{1, 3, 4, 5});
    CHECK(room->items.stats().destroyed == 4);
    CHECK(calls.checked.empty());
    CHECK(calls.reset.empty());
}

TEST_CASE("pool hooks: a destroy that throws has done its work") {
    auto room = make_room();
    room.hooks(&Room::items, {.destroy = [](Item&) { throw 1; }});
    room->items.add(Item{1});
    room->items.acquire().discard();
    CHECK(room->items.stats().empty == 3);
}

TEST_CASE("pool hooks: a hook may use the pool it belongs to") {
    auto room = make_room();
    int seen = 0;
    room.hooks(&Room::items, {.destroy = [&](Item&) {
        seen += room->items.try_acquire() ? 1 : 0;
        seen += room->items.stats().maintained == 1 ? 1 : 0;
    }});
    room->items.add(Item{1});
    room->items.add(Item{2});
    room->items.acquire().discard();
    CHECK(seen == 2);
}

TEST_CASE("pool hooks: a passed check clears recovered", "[child]") {
    auto room = make_room();
    room->items.add(Item{1});
    Calls calls;
    room.hooks(&Room::items, calls.hooks());
    const auto done = borrow_and_die(room, 42);
    CHECK(done.leases == 1);
    CHECK(done.hooks_run == 1);
    CHECK(done.dirty_left == 0);
    CHECK(calls.checked == Numbers{42});
    auto lease = room->items.try_acquire();
    REQUIRE(lease);
    CHECK(lease->number == 42);
    CHECK_FALSE(lease.recovered());
    CHECK(calls.destroyed.empty());
}

TEST_CASE("pool hooks: a resource whose check fails or throws is destroyed", "[child]") {
    for (const bool throws : {false, true}) {
        auto room = make_room();
        room->items.add(Item{1});
        Numbers destroyed;
        room.hooks(&Room::items,
                   {.check = [&](Item&) -> bool {
                        if (throws) throw std::runtime_error{"unreachable"};
                        return false;
                    },
                    .destroy = [&](Item& item) { destroyed.push_back(item.number); }});
        const auto done = borrow_and_die(room, 13);
        CHECK(done.hooks_run == 2);
        CHECK(destroyed == Numbers{13});
        CHECK(room->items.stats().empty == 3);
        CHECK(room->items.stats().destroyed == 1);
    }
}

TEST_CASE("pool hooks: a check that returns nothing passes unless it throws", "[child]") {
    auto room = make_room();
    room->items.add(Item{1});
    int checked = 0;
    room.hooks(&Room::items, {.check = [&](Item&) { ++checked; }});
    borrow_and_die(room);
    CHECK(checked == 1);
    CHECK_FALSE(room->items.try_acquire().recovered());
}

TEST_CASE("pool hooks: reset_then_reuse resets, and what cannot be reset is destroyed", "[child]") {
    for (const bool passes : {true, false}) {
        auto room = make_room(OnDeath::reset_then_reuse);
        room->items.add(Item{1});
        Calls calls;
        room.hooks(&Room::items, calls.hooks(passes));
        borrow_and_die(room, 42);
        CHECK(calls.reset == Numbers{42});
        CHECK(calls.checked.empty());
        if (passes) {
            auto lease = room->items.try_acquire();
            REQUIRE(lease);
            CHECK(lease->number == 0);
            CHECK_FALSE(lease.recovered());
        } else {
            CHECK(calls.destroyed == Numbers{0});
            CHECK(room->items.stats().empty == 3);
        }
    }
}

TEST_CASE("pool hooks: reuse runs no hook, and recovered stays", "[child]") {
    auto room = make_room(OnDeath::reuse);
    room->items.add(Item{1});
    Calls calls;
    room.hooks(&Room::items, calls.hooks());
    CHECK(borrow_and_die(room).hooks_run == 0);
    CHECK(room->items.try_acquire().recovered());
    CHECK((calls.checked.empty() && calls.reset.empty() && calls.destroyed.empty()));
}

TEST_CASE("pool hooks: destroy as the policy runs destroy, quarantine runs nothing until clear",
          "[child]") {
    {
        auto room = make_room(OnDeath::destroy);
        room->items.add(Item{1});
        Calls calls;
        room.hooks(&Room::items, calls.hooks());
        CHECK(borrow_and_die(room, 9).hooks_run == 1);
        CHECK(calls.destroyed == Numbers{9});
        CHECK(room->items.stats().empty == 3);
    }
    auto room = make_room(OnDeath::quarantine);
    room->items.add(Item{1});
    Calls calls;
    room.hooks(&Room::items, calls.hooks());
    CHECK(borrow_and_die(room, 9).hooks_run == 0);
    CHECK(room->items.stats().quarantined == 1);
    CHECK(calls.destroyed.empty());
    CHECK(room->items.clear() == 1);
    CHECK(calls.destroyed == Numbers{9});
}

TEST_CASE("pool hooks: a process without the hook leaves the slot DIRTY, and counts it",
          "[child]") {
    auto room = make_room();
    room->items.add(Item{1});
    // Some process has a check, so this resource is one that wants checking.
    REQUIRE(elsewhere(room, {.check = [](Item&) { return true; }}, [] { return true; }));
    const auto done = borrow_and_die(room, 5);
    CHECK(done.leases == 1);
    CHECK(done.dirty_left == 1);
    CHECK(room->items.stats().dirty == 1);
    CHECK(room->items.stats().hooks_missing == 1);
    CHECK_FALSE(room->items.try_acquire());
    CHECK(room->items.acquire_for(std::chrono::milliseconds{1}).status() == Outcome::timed_out);
    CHECK(room->items.stats().hooks_missing == 1);
    // Another place is not hindered.
    CHECK(room->items.try_acquire_or_create([](Item&) {}));
    room->items.clear();
    CHECK(room->items.stats().empty == 3);
}

TEST_CASE("pool hooks: a process that has the hook settles what others left DIRTY", "[child]") {
    auto room = make_room();
    room->items.add(Item{1});
    REQUIRE(elsewhere(room, {.check = [](Item&) { return true; }}, [] { return true; }));
    borrow_and_die(room, 5);
    REQUIRE(room->items.stats().dirty == 1);
    int checked = 0;
    SECTION("when it registers") {
        room.hooks(&Room::items, {.check = [&](Item&) { ++checked; }});
        CHECK(checked == 1);
        CHECK_FALSE(room->items.try_acquire().recovered());
    }
    SECTION("before it waits, in another process") {
        CHECK(elsewhere(room, {.check = [](Item& item) { return item.number == 5; }}, [&] {
            auto lease = room->items.acquire();
            return lease && !lease.recovered() && lease->number == 5;
        }));
    }
    SECTION("before it gathers several") {
        room->items.add(Item{2});
        const support::Flag have_hooks;
        const support::Flag dirty;
        Child child{[&] {
            room.hooks(&Room::items, {.check = [](Item&) { return true; }});
            have_hooks.raise();
            dirty.wait();
            return room->items.acquire_n(2).size() == 2 ? 0 : 1;
        }};
        have_hooks.wait();
        borrow_and_die(room, 5);
        REQUIRE(room->items.stats().dirty == 1);
        dirty.raise();
        CHECK(child.wait() == support::exited(0));
    }
}

TEST_CASE("pool hooks: where some process can destroy, one that cannot leaves it to that one",
          "[child]") {
    auto room = make_room();
    for (const int number : {1, 2, 3}) room->items.add(Item{number});
    const support::Flag step;
    const support::Flag registered;
    support::Shared<std::int64_t> sum;
    Child destroyer{[&] {
        room.hooks(&Room::items, {.destroy = [&](Item& item) { *sum += item.number; }});
        registered.raise();
        step.wait();
        (void)room.reap();
        return 0;
    }};
    registered.wait();
    room->items.acquire().discard();
    CHECK(room->items.stats().dirty == 1);
    CHECK(room->items.stats().hooks_missing == 1);
    CHECK(room->items.stats().destroyed == 0);
    CHECK(room->items.clear() == 0);
    CHECK(room->items.stats().dirty == 3);
    CHECK(room->items.stats().hooks_missing == 3);
    // Asked again, nothing changes.
    CHECK(room->items.clear() == 0);
    CHECK(room.reap().dirty_left == 3);
    CHECK_FALSE(room->items.add(Item{4}));
    step.raise();
    CHECK(destroyer.wait() == support::exited(0));
    CHECK(*sum == 6);
    CHECK(room->items.stats().empty == 3);
    CHECK(room->items.stats().destroyed == 3);
}

TEST_CASE("pool hooks: destroy gets what a dead builder left half-built, named by its slot",
          "[child]") {
    auto room = make_room();
    Numbers numbers;
    std::vector<std::uint64_t> fills;
    room.hooks(&Room::items, {.destroy = [&](Item& item, lagoon::Slot slot) {
        numbers.push_back(item.number);
        fills.push_back(slot.fill());
    }});
    const support::Flag there;
    support::Shared<std::uint64_t> fill;
    Child child{[&]() -> int {
        (void)room->items.acquire_or_create([&](Item& item, lagoon::Slot slot) {
            item.number = 77;
            *fill = slot.fill();
            there.raise();
            support::wait_for_death();
        });
        return 0;
    }};
    there.wait();
    child.kill();
    const auto done = support::reap_dead(room);
    CHECK(done.builds == 1);
    CHECK(done.hooks_run == 1);
    CHECK(numbers == Numbers{77});
    CHECK(fills == std::vector<std::uint64_t>{*fill});
    CHECK(room->items.stats().empty == 3);
}

TEST_CASE("pool hooks: a checker killed in its check leaves the resource to be checked again",
          "[child]") {
    auto room = make_room();
    room->items.add(Item{1});
    const support::Flag there;
    const support::Flag dirty;
    Child child{[&]() -> int {
        room.hooks(&Room::items, {.check = [&](Item&) {
            there.raise(2);
            support::wait_for_death();
        }});
        there.raise();
        dirty.wait();
        (void)room.reap();
        return 0;
    }};
    there.wait();
    borrow_and_die(room, 3);
    REQUIRE(room->items.stats().dirty == 1);
    dirty.raise();
    there.wait(2);
    CHECK(support::state_of(room->items, 0) == SlotState::checking);
    CHECK(room->items.stats().maintained == 1);
    child.kill();
    int checked = 0;
    room.hooks(&Room::items, {.check = [&](Item&) { ++checked; }});
    support::reap_dead(room);
    CHECK(checked == 1);
    auto lease = room->items.try_acquire();
    REQUIRE(lease);
    CHECK_FALSE(lease.recovered());
    CHECK(lease->number == 3);
}

TEST_CASE("pool hooks: try forms run no hook") {
    auto room = make_room();
    room->items.add(Item{1});
    int checked = 0;
    room.hooks(&Room::items, {.check = [&](Item&) { ++checked; }});
    const std::uint64_t truth = support::truth_of(room->items, 0);
    support::set_truth(room->items, 0,
                       word::next_dirty(truth, lagoon::detail::DirtyReason::borrower_died));
    lagoon::detail::hints_of(support::body_of(room->items), lagoon::detail::Hint::dirty).set(0);
    CHECK_FALSE(room->items.try_acquire());
    CHECK(room->items.try_acquire_n(1).empty());
    CHECK(room->items.try_acquire_or_create([](Item&) {}).index() == 1);
    CHECK(checked == 0);
    // The others do, before they wait.
    auto other = room->items.acquire();
    CHECK(room->items.acquire());
    CHECK(checked == 1);
}

TEST_CASE("pool hooks: hooks belong to a process, not to the arena") {
    auto room = make_room();
    Calls calls;
    room.hooks(&Room::items, calls.hooks());
    REQUIRE(room->items.add(Item{1}));
    CHECK(calls.created == Numbers{1});
    // The forked child has the closures, as it has all memory; another handle has them, too.
    auto same = Arena::open(room.name());
    REQUIRE(same->items.add(Item{2}));
    CHECK(calls.created == Numbers{1, 2});
}

TEST_CASE("pool hooks: they may own an arena, and are destroyed when theirs is closed") {
    const auto name = unique_name("hooks-owned");
    auto room = make_room();
    {
        auto owned = Arena::create(name);
        room.hooks(&Room::items, {.check = [owned](Item&) { return owned->items.idle() == 0; }});
    }
    REQUIRE(support::exists(support::file_of(name)));
    SECTION("by close()") { room.close(); }
    SECTION("by the handle's destructor") { room = {}; }
    REQUIRE_FALSE(support::exists(support::file_of(name)));
    // What was kept of the closed arena is used for the next one.
    const auto again = make_room();
    CHECK(again->items.add(Item{1}));
}

TEST_CASE("pool hooks: a forked child replaces hooks that own an arena", "[child]") {
    const auto room = make_room();
    const auto name = unique_name("hooks-owned");
    {
        auto owned = Arena::create(name);
        room.hooks(&Room::items, {.check = [owned](Item&) { return owned->items.idle() == 0; }});
    }
    CHECK(support::in_child([&] {
              ::alarm(60);  // a child that waits for itself ends
              room.hooks(&Room::items, {.check = [](Item&) { return true; }});
              ::alarm(0);
              return 0;
          }) == support::exited(0));
    CHECK(support::exists(support::file_of(name)));
}

TEST_CASE("pool hooks: destroy is not given a value again of which a dead one has begun to zero",
          "[child]") {
    struct Pages {
        std::byte bytes[4][4096];
    };
    struct Wide {
        lagoon::Pool<Pages> pages{"pages", {.capacity = 1}};
    };
    const auto wide = lagoon::Arena<Wide>::create(unique_name("hooks-zeroes"));
    REQUIRE(wide->pages.add(Pages{.bytes = {{std::byte{1}}, {}, {}, {std::byte{4}}}}));
    const support::Shared<std::atomic<int>> destroyed;
    const auto destroy = [&](Pages&) { ++*destroyed; };
    bool destroys = true;
    SECTION("it was destroyed") { wide.hooks(&Wide::pages, {.destroy = destroy}); }
    SECTION("it was taken out") {
        wide.hooks(&Wide::pages, {.destroy = destroy});
        destroys = false;
    }
    const auto died = support::in_child([&] {
        // Where the slot cannot be written the zeroing ends, and with it the process.
        const auto shut = [](Pages& pages) {
            const auto at = reinterpret_cast<std::uintptr_t>(&pages) + 2 * 4096 - 1;
            void* page = reinterpret_cast<void*>(at & ~std::uintptr_t{4095});
            return ::mprotect(page, 4096, PROT_READ) == 0;
        };
        wide.hooks(&Wide::pages, {.destroy = [&](Pages& pages) {
            ++*destroyed;
            if (!shut(pages)) ::_exit(2);
        }});
        auto lease = wide->pages.acquire();
        if (!lease) return 3;
        if (destroys) {
            lease.discard();
        } else {
            if (!shut(*lease)) return 2;
            (void)lease.detach();
        }
        return 4;
    });
    if (!support::under_asan) CHECK(died == support::killed_by(SIGSEGV));
    CHECK(destroyed->load() == (destroys ? 1 : 0));
    CHECK(support::reap_dead(wide).dirty_left == 0);
    CHECK(destroyed->load() == (destroys ? 1 : 0));
    CHECK(support::state_of(wide->pages, 0) == SlotState::empty);
    CHECK(support::is_blank(wide->pages, 0));
    CHECK(wide->pages.add(Pages{}));
}
