// pool_death_test.cpp: what becomes of slots whose borrower, builder, destroyer or repairer died.
// One piece although long: one death per case, over one set of scenes.
#include <lagoon/lagoon.hpp>

#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <thread>
#include <vector>

#include "support/pools.hpp"

using namespace std::chrono_literals;
using lagoon::OnDeath;
using lagoon::Outcome;
using lagoon::SlotStatus;
using lagoon::detail::DirtyReason;
using support::Child;
using support::SlotState;
using support::unique_name;
using support::wait_for_death;
namespace word = lagoon::detail::word;
namespace meta = lagoon::detail::meta;

namespace {

struct Item {
    std::int64_t number = 0;
};

struct Room {
    explicit Room(lagoon::Count capacity = 2, std::uint32_t on_death = 0,
                  std::uint32_t quarantine_after = 3)
        : items{"items",
                {.capacity = capacity,
                 .on_death = static_cast<OnDeath>(on_death),
                 .quarantine_after = quarantine_after}} {}
    lagoon::Pool<Item> items;
};
using Arena = lagoon::Arena<Room>;

Arena make_room(std::uint64_t capacity, OnDeath on_death = OnDeath::check_then_reuse,
                std::uint32_t quarantine_after = 3) {
    return Arena::create(unique_name("death"), {}, lagoon::Count{capacity},
                         static_cast<std::uint32_t>(on_death), quarantine_after);
}
Arena make_full_room(std::uint64_t capacity, OnDeath on_death = OnDeath::check_then_reuse,
                     std::uint32_t quarantine_after = 3) {
    auto room = make_room(capacity, on_death, quarantine_after);
    for (std::uint64_t i = 0; i < capacity; ++i) {
        room->items.add(Item{static_cast<std::int64_t>(100 + i)});
    }
    return room;
}

/// A process that runs `body`, says that it is there, and sleeps until it is killed.
template <class Body>
void live_and_die(Body&& body) {
    const support::Flag there;
    Child child{[&]() -> int {
        body([&] {
            there.raise();
            wait_for_death();
        });
        return 1;
    }};
    there.wait();
    CHECK(child.kill() == support::killed_by(SIGKILL));
}

/// A borrower of any slot that dies, and is found dead.
lagoon::Reaped borrow_and_die(const Arena& room) {
    live_and_die([&](auto&& die) {
        auto lease = room->items.acquire();
        die();
    });
    return support::reap_dead(room);
}

std::uint32_t deaths_of(const Arena& room, std::uint64_t index) {
    auto& slot = lagoon::detail::pool_slot(support::object_of(room->items), index);
    // O13 acquire load <- O14.
    return meta::deaths(slot.meta.load(std::memory_order_acquire));
}

}  // namespace

TEST_CASE("pool death: a dead borrower's resource is lent again, and says recovered", "[child]") {
    auto room = make_full_room(1);
    const std::uint64_t fill = room->items.try_acquire().fill();
    live_and_die([&](auto&& die) {
        auto lease = room->items.acquire();
        lease->number = 7;
        die();
    });
    CHECK(room->items.leased() == 1);
    const auto done = support::reap_dead(room);
    CHECK(done.processes == 1);
    CHECK(done.leases == 1);
    CHECK(done.builds == 0);
    CHECK(done.dirty_left == 0);
    auto lease = room->items.try_acquire();
    REQUIRE(lease);
    CHECK(lease.recovered());
    CHECK(lease->number == 7);
    CHECK(lease.fill() == fill);
    CHECK(room->items.stats().recovered == 1);
    CHECK(room.reap() == lagoon::Reaped{});
}

TEST_CASE("pool death: recovered stays until somebody vouches for the resource", "[child]") {
    auto room = make_full_room(1);
    borrow_and_die(room);
    for (int i = 0; i < 3; ++i) CHECK(room->items.try_acquire().recovered());
    CHECK(room->items.snapshot()[0].recovered);
    {
        auto lease = room->items.try_acquire();
        lease.mark_clean();
        CHECK_FALSE(lease.recovered());
        lease.mark_clean();
    }
    CHECK_FALSE(room->items.try_acquire().recovered());
    CHECK_FALSE(room->items.snapshot()[0].recovered);
    borrow_and_die(room);
    auto lease = room->items.try_acquire();
    CHECK(lease.recovered());
    // A new resource was never in a dead process's hands.
    lease.discard();
    CHECK_FALSE(room->items.acquire_or_create([](Item&) {}).recovered());
}

TEST_CASE("pool death: a lease marked clean by another thread than its taker", "[child]") {
    auto room = make_full_room(1);
    borrow_and_die(room);
    auto lease = room->items.try_acquire();
    std::thread{[&] { lease.mark_clean(); }}.join();
    CHECK_FALSE(lease.recovered());
    lease.give_back();
    CHECK_FALSE(room->items.try_acquire().recovered());
}

TEST_CASE("pool death: reuse lends again at once, with recovered set", "[child]") {
    auto room = make_full_room(1, OnDeath::reuse);
    CHECK(borrow_and_die(room).leases == 1);
    CHECK(room->items.try_acquire().recovered());
}

TEST_CASE("pool death: reset_then_reuse lends again where no process has a reset", "[child]") {
    auto room = make_full_room(1, OnDeath::reset_then_reuse);
    CHECK(borrow_and_die(room).leases == 1);
    CHECK(room->items.try_acquire().recovered());
}

TEST_CASE("pool death: destroy empties the slot", "[child]") {
    auto room = make_full_room(1, OnDeath::destroy);
    const std::uint64_t fill = room->items.try_acquire().fill();
    CHECK(borrow_and_die(room).leases == 1);
    CHECK(room->items.stats().empty == 1);
    CHECK(room->items.stats().destroyed == 1);
    auto lease = room->items.acquire_or_create([](Item&) {});
    CHECK(lease->number == 0);
    CHECK(lease.fill() == fill + 1);
    CHECK_FALSE(lease.recovered());
}

TEST_CASE("pool death: quarantine lends no more, until clear", "[child]") {
    auto room = make_full_room(2, OnDeath::quarantine);
    CHECK(borrow_and_die(room).leases == 1);
    CHECK(room->items.stats().quarantined == 1);
    CHECK(room->items.stats().quarantines == 1);
    auto other = room->items.try_acquire();
    REQUIRE(other);
    CHECK_FALSE(room->items.try_acquire());
    CHECK(room->items.try_acquire_or_create([](Item&) {}).status() == Outcome::would_block);
    CHECK(room->items.clear() == 1);
    CHECK(room->items.try_acquire_or_create([](Item&) {}));
}

TEST_CASE("pool death: three borrowers dead on one filling quarantine it", "[child]") {
    auto room = make_full_room(1);
    borrow_and_die(room);
    borrow_and_die(room);
    CHECK(deaths_of(room, 0) == 2);
    // That somebody vouches for it does not take the deaths back.
    {
        auto lease = room->items.try_acquire();
        REQUIRE(lease);
        lease.mark_clean();
    }
    borrow_and_die(room);
    CHECK(room->items.stats().quarantined == 1);
    CHECK_FALSE(room->items.try_acquire());
    // The count starts anew with a new filling.
    CHECK(room->items.clear() == 1);
    room->items.add(Item{1});
    CHECK(deaths_of(room, 0) == 0);
    borrow_and_die(room);
    borrow_and_die(room);
    CHECK(room->items.idle() == 1);
    borrow_and_die(room);
    CHECK(room->items.stats().quarantined == 1);
    CHECK(room->items.stats().quarantines == 2);
    CHECK(room->items.stats().recovered == 6);
}

TEST_CASE("pool death: a quarantine_after that is not counted so far is refused") {
    CHECK_NOTHROW(make_room(1, OnDeath::reuse, 15));
    const std::string text = support::text_of([] { return make_room(1, OnDeath::reuse, 16); });
    CHECK(text.find("quarantine_after of 16; it can be up to 15, 0 means never") !=
          std::string::npos);
}

TEST_CASE("pool death: quarantine_after 0 never quarantines, 1 at the first death", "[child]") {
    auto never = make_full_room(1, OnDeath::reuse, 0);
    for (int i = 0; i < 5; ++i) borrow_and_die(never);
    CHECK(never->items.idle() == 1);
    auto first = make_full_room(1, OnDeath::reuse, 1);
    borrow_and_die(first);
    CHECK(first->items.stats().quarantined == 1);
}

TEST_CASE("pool death: everything a process held comes back, over several threads and pools",
          "[child]") {
    struct Rooms {
        lagoon::Pool<Item> one{"one", {.capacity = 100}};
        lagoon::Pool<Item> two{"two", {.capacity = 100}};
    };
    auto rooms = lagoon::Arena<Rooms>::create(unique_name("rooms"));
    for (int i = 0; i < 100; ++i) {
        rooms->one.add(Item{i});
        rooms->two.add(Item{i});
    }
    live_and_die([&](auto&& die) {
        std::vector<lagoon::Lease<Item>> held[4];
        std::vector<std::thread> threads;
        for (auto& mine : held) {
            threads.emplace_back([&] {
                for (int i = 0; i < 10; ++i) {
                    mine.push_back(rooms->one.try_acquire());
                    mine.push_back(rooms->two.try_acquire());
                }
            });
        }
        for (auto& thread : threads) thread.join();  // their leases are the process's now
        auto ours = rooms->one.acquire_n(10);
        die();
    });
    CHECK(rooms->one.leased() == 50);
    CHECK(rooms->two.leased() == 40);
    const auto done = support::reap_dead(rooms);
    CHECK(done.leases == 90);
    CHECK(rooms->one.idle() == 100);
    CHECK(rooms->two.idle() == 100);
}

TEST_CASE("pool death: a builder killed before it wrote anything leaves an empty slot", "[child]") {
    auto room = make_room(1);
    live_and_die([&](auto&& die) {
        (void)room->items.acquire_or_create([&] {
            die();
            return Item{};
        });
    });
    CHECK(room->items.stats().creating == 1);
    CHECK(room->items.snapshot()[0].state == SlotStatus::creating);
    const auto done = support::reap_dead(room);
    CHECK(done.builds == 1);
    CHECK(done.leases == 0);
    CHECK(room->items.stats().empty == 1);
    auto lease = room->items.acquire_or_create([](Item&) {});
    CHECK(lease->number == 0);
    CHECK_FALSE(lease.recovered());
}

TEST_CASE("pool death: what a killed builder wrote is gone with the slot", "[child]") {
    auto room = make_room(1);
    live_and_die([&](auto&& die) {
        (void)room->items.acquire_or_create([&](Item& item, lagoon::Slot) {
            item.number = 9;
            die();
        });
    });
    CHECK(support::reap_dead(room).builds == 1);
    auto lease = room->items.acquire_or_create([](Item&) {});
    REQUIRE(lease);
    CHECK(lease->number == 0);
    CHECK(lease.fill() == 2);
}

TEST_CASE("pool death: a death of a building or closing owner is no death on the filling",
          "[child]") {
    auto room = make_room(1);
    for (int i = 0; i < 4; ++i) {
        live_and_die(
            [&](auto&& die) { (void)room->items.acquire_or_create([&](Item&) { die(); }); });
        support::reap_dead(room);
        CHECK(deaths_of(room, 0) == 0);
    }
    CHECK(room->items.stats().quarantined == 0);
    CHECK(room->items.add(Item{}));
}

TEST_CASE("pool death: a destroyer killed in the middle leaves a slot that is emptied again",
          "[child]") {
    auto room = make_full_room(1);
    live_and_die([&](auto&& die) {
        room.hooks(&Room::items, {.destroy = [&](Item& item) {
            item.number = 1;
            die();
        }});
        room->items.acquire().discard();
    });
    CHECK(support::state_of(room->items, 0) == SlotState::closing);
    std::vector<std::int64_t> destroyed;
    // This process has the hook, too: the destruction is done once more, from the start.
    const auto destroy = [&](Item& item) { destroyed.push_back(item.number); };
    CHECK(support::reap_dead(room).builds == 1);
    CHECK(support::state_of(room->items, 0) == SlotState::dirty);
    room.hooks(&Room::items, {.destroy = destroy});
    CHECK(destroyed == std::vector<std::int64_t>{1});
    CHECK(room->items.stats().empty == 1);
    CHECK(room->items.stats().destroyed == 1);
}

TEST_CASE("pool death: words of a dead lane are repaired, whatever their state", "[child]") {
    auto room = make_full_room(6);
    std::uint32_t lane = 0;
    support::Shared<std::uint32_t> told;
    live_and_die([&](auto&& die) {
        auto lease = room->items.acquire();
        *told = word::owner(support::truth_of(room->items, lease.index()));
        lease.give_back();
        die();
    });
    lane = *told;
    REQUIRE(lane >= 128);
    // As if it had died in each of these, one after the other.
    const auto owned = [&](std::uint64_t index, SlotState state) {
        const std::uint64_t before = support::truth_of(room->items, index);
        support::set_truth(room->items, index, word::next(before, state, lane));
    };
    owned(0, SlotState::building);
    owned(1, SlotState::held);
    owned(2, SlotState::checking);
    owned(3, SlotState::closing);
    // At rest: nobody's, whatever the owner bits were before.
    const auto done = support::reap_dead(room);
    CHECK(done.leases == 1);
    CHECK(done.builds == 3);
    CHECK(support::state_of(room->items, 0) == SlotState::empty);
    CHECK(support::state_of(room->items, 1) == SlotState::free);
    CHECK(support::state_of(room->items, 2) == SlotState::free);
    CHECK(support::state_of(room->items, 3) == SlotState::empty);
    CHECK(support::state_of(room->items, 4) == SlotState::free);
    CHECK(word::recovered(support::truth_of(room->items, 1)));
    CHECK(word::recovered(support::truth_of(room->items, 2)));
    CHECK_FALSE(word::recovered(support::truth_of(room->items, 3)));
    CHECK(room->items.idle() == 4);
}

TEST_CASE("pool death: a repairer killed between DIRTY and the hint leaves work for the next",
          "[child]") {
    auto room = make_full_room(3);
    // DIRTY at rest, and nobody was told.
    const std::uint64_t before = support::truth_of(room->items, 1);
    support::set_truth(room->items, 1, word::next_dirty(before, DirtyReason::borrower_died));
    CHECK(room->items.stats().dirty == 1);
    CHECK(room->items.snapshot()[1].state == SlotStatus::dirty);
    // The repairer's own death has whoever finds it look at every slot.
    live_and_die([&](auto&& die) {
        (void)room->items.try_acquire();
        die();
    });
    support::reap_dead(room);
    CHECK(room->items.stats().dirty == 0);
    CHECK(room->items.idle() == 3);
    CHECK(word::recovered(support::truth_of(room->items, 1)));
}

TEST_CASE("pool death: one who freed a slot and died before the hint leaves it to be found",
          "[child]") {
    auto room = make_full_room(200);
    // Nobody remembers the slot, and its hint bit goes when it is taken by its hint.
    live_and_die([&](auto&& die) {
        std::vector<lagoon::Lease<Item>> held;
        for (int i = 0; i < 200; ++i) held.push_back(room->items.try_acquire());
        for (std::uint64_t i = 100; i < 164; ++i) {
            support::set_truth(room->items, i,
                               word::next(support::truth_of(room->items, i), SlotState::free));
        }
        die();
    });
    CHECK(room->items.idle() == 64);
    CHECK(support::reap_dead(room).leases == 136);
    std::vector<lagoon::Lease<Item>> held;
    while (auto lease = room->items.try_acquire()) held.push_back(std::move(lease));
    CHECK(held.size() == 200);
}

TEST_CASE("pool death: what a dead one gave back to a closed pool is destroyed", "[child]") {
    auto room = make_full_room(2);
    int destroyed = 0;
    room.hooks(&Room::items, {.destroy = [&](Item&) { ++destroyed; }});
    live_and_die([&](auto&& die) {
        auto lease = room->items.acquire();
        room->items.close();  // destroys the other one here
        support::set_truth(
            room->items, lease.index(),
            word::next(support::truth_of(room->items, lease.index()), SlotState::free));
        die();
    });
    CHECK(room->items.idle() == 1);
    CHECK(support::reap_dead(room).processes == 1);
    CHECK(room->items.stats().empty == 2);
    CHECK(destroyed == 1);
}

TEST_CASE("pool death: a pool whose closer died on the way is closed all the same", "[child]") {
    auto room = make_full_room(2);
    auto held = room->items.acquire();
    held.give_back();
    held = room->items.acquire();  // by memory: to be given back by one store
    live_and_die([&](auto&& die) {
        (void)room->items.idle();
        (void)lagoon::detail::lane_of(&room->items);
        // The closer's first store, and none of what follows it.
        support::body_of(room->items).closed.store(1, std::memory_order_seq_cst);
        die();
    });
    CHECK(support::reap_dead(room).processes == 1);
    CHECK(room->items.stats().empty == 1);
    held.give_back();
    CHECK(room->items.stats().empty == 2);
}

TEST_CASE("pool death: two repairers count one death once", "[child]") {
    auto room = make_full_room(1);
    for (int i = 0; i < 2; ++i) {
        live_and_die([&](auto&& die) {
            auto lease = room->items.acquire();
            die();
        });
        std::vector<std::thread> threads;
        for (int t = 0; t < 4; ++t) {
            threads.emplace_back([&] {
                while (room->items.leased() != 0) (void)room.reap();
            });
        }
        for (auto& thread : threads) thread.join();
        CHECK(deaths_of(room, 0) == static_cast<std::uint32_t>(i + 1));
        CHECK(room->items.stats().recovered == static_cast<std::uint64_t>(i + 1));
    }
    CHECK(room->items.idle() == 1);
}

TEST_CASE("pool death: a death that was counted and not repaired is counted once") {
    const std::uint64_t building = word::next(0, SlotState::building, 200);
    std::uint64_t counted = meta::next_fill(0, building);
    const std::uint64_t lease = word::next(building, SlotState::held, 200);
    counted = meta::count_death(counted, lease);
    CHECK(meta::count_death(counted, lease) == counted);
    CHECK(meta::deaths(counted) == 1);
    CHECK(meta::deaths(meta::count_death(counted, word::next(lease, SlotState::held, 3))) == 2);
    for (std::uint64_t i = 0; i < 40; ++i) {
        counted = meta::count_death(counted, lease + i * word::one_generation);
    }
    CHECK(meta::deaths(counted) == 15);
    CHECK(meta::fill(counted) == 1);
    CHECK(meta::deaths(meta::next_fill(counted, building)) == 0);
}

TEST_CASE("pool death: who attaches, opens or waits repairs the dead without being asked",
          "[child]") {
    auto room = make_full_room(1);
    live_and_die([&](auto&& die) {
        auto lease = room->items.acquire();
        die();
    });
    auto lease = room->items.acquire();
    REQUIRE(lease);
    CHECK(lease.recovered());
}

TEST_CASE("pool death: who attaches where all places are the dead's repairs them, under any policy",
          "[child]") {
    for (const auto policy : {OnDeath::check_then_reuse, OnDeath::destroy, OnDeath::quarantine}) {
        for (const bool closed : {false, true}) {
            CAPTURE(static_cast<int>(policy), closed);
            auto room = Arena::create(unique_name("full"), {.max_processes = 2}, lagoon::Count{2},
                                      static_cast<std::uint32_t>(policy), 3U);
            room->items.add(Item{1});
            live_and_die([&](auto&& die) {
                auto lease = room->items.acquire();
                if (closed) room->items.close();
                die();
            });
            CHECK(support::in_child([&] {
                      (void)room->items.stats();
                      (void)room->items.try_acquire();
                      return static_cast<int>(room->items.leased());
                  }) == support::exited(0));
            (void)room.reap();
            CHECK(room->items.stats().dirty == 0);
            CHECK(room->items.stats().leased == 0);
            if (closed) CHECK(room->items.stats().idle == 0);
        }
    }
}

TEST_CASE("pool death: a process may leave, and the arena close, with slots left DIRTY",
          "[child]") {
    if (support::under_tsan) {
        return support::skip("pool death: a process may leave",
                             "thread sanitizer cannot follow a forked child's join of its keeper");
    }
    auto room = make_full_room(2);
    for (const std::uint64_t index : std::initializer_list<std::uint64_t>{0, 1}) {
        support::set_truth(
            room->items, index,
            word::next_dirty(support::truth_of(room->items, index), DirtyReason::must_destroy));
    }
    live_and_die([&](auto&& die) {
        (void)room->items.try_acquire();
        die();
    });
    CHECK(support::in_child([&] {
              auto mine = Arena::open(room.name());
              room.close();
              mine.close();
              return 0;
          }) == support::exited(0));
    CHECK(room->items.stats().dirty == 2);
    room.close();
}

TEST_CASE("pool death: a living process's leases are never taken, however often we reap",
          "[child]") {
    auto room = make_full_room(2);
    const support::Flag there;
    const support::Flag end;
    Child child{[&] {
        auto lease = room->items.acquire();
        lease->number = 1;
        there.raise();
        end.wait();
        const bool mine = lease->number == 1;
        lease.give_back();
        return mine ? 0 : 1;
    }};
    there.wait();
    for (int i = 0; i < 50; ++i) CHECK(room.reap() == lagoon::Reaped{});
    // Stopped is not dead.
    ::kill(child.pid(), SIGSTOP);
    for (int i = 0; i < 50; ++i) CHECK(room.reap() == lagoon::Reaped{});
    ::kill(child.pid(), SIGCONT);
    CHECK(room->items.leased() == 1);
    end.raise();
    CHECK(child.wait() == support::exited(0));
    CHECK(room->items.idle() == 2);
}

TEST_CASE("pool death: exec ends a borrower as its death does", "[child]") {
    auto room = make_full_room(1);
    CHECK(support::in_child([&] {
              static auto lease = room->items.acquire();
              ::execlp("true", "true", nullptr);
              return 1;
          }) == support::exited(0));
    CHECK(support::reap_dead(room).leases == 1);
    CHECK(room->items.try_acquire().recovered());
}
