// pool_bias_test.cpp: slots that a thread keeps: lent again, stolen, given back elsewhere,
// repaired.
#include <lagoon/lagoon.hpp>

#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <thread>
#include <vector>

#include "support/arenas.hpp"
#include "support/pools.hpp"
#include "support/system_calls.hpp"

using support::Child;
using support::SlotState;
using support::state_of;
using support::truth_of;

namespace {

struct Item {
    std::int64_t number = 0;
};

struct Room {
    explicit Room(lagoon::Count capacity) : items{"items", {.capacity = capacity}} {}
    lagoon::Pool<Item> items;
};
using Arena = lagoon::Arena<Room>;
using Lease = lagoon::Lease<Item>;

Arena make_room(std::uint64_t capacity, lagoon::Ownership ownership = lagoon::Ownership::biased) {
    auto room = Arena::create(support::unique_name("bias"), {.ownership = ownership},
                              lagoon::Count{capacity});
    for (std::uint64_t i = 0; i < capacity; ++i) {
        room->items.add(Item{static_cast<std::int64_t>(i)});
    }
    return room;
}
/// False where the kernel refuses membarrier: then nothing is kept.
bool keeps(const Arena& room) {
    return (lagoon::detail::header_of(&room.attached()).flags & lagoon::detail::flag_biased) != 0;
}

/// This thread takes one and gives it back.
std::uint64_t touch(const Arena& room) {
    const Lease lease = room->items.try_acquire();
    REQUIRE(lease);
    return lease.index();
}

/// A process that runs `body`, says that it is there, and sleeps until it is killed.
template <class Body>
void live_and_die(Body&& body) {
    const support::Flag there;
    Child child{[&]() -> int {
        body([&] {
            there.raise();
            support::wait_for_death();
        });
        return 1;
    }};
    there.wait();
    CHECK(child.kill() == support::killed_by(SIGKILL));
}

}  // namespace

TEST_CASE("pool bias: a slot that was given back is lent again without a change of its word") {
    const auto room = make_room(4);
    if (!keeps(room)) return;
    const std::uint64_t index = touch(room);
    CHECK(state_of(room->items, index) == SlotState::biased);
    const std::uint64_t word = truth_of(room->items, index);
    for (int i = 0; i < 100; ++i) {
        Lease lease = room->items.try_acquire();
        CHECK(lease.index() == index);
        CHECK(truth_of(room->items, index) == word);
        CHECK(room->items.leased() == 1);
        CHECK(room->items.idle() == 3);
        lease.give_back();
        CHECK(room->items.leased() == 0);
        CHECK(room->items.idle() == 4);
    }
    CHECK(room->items.stats().acquired == 101);
}

TEST_CASE("pool bias: nothing is kept unless the arena is made so") {
    for (const auto other : {lagoon::Ownership::unbiased, lagoon::Ownership::symmetric}) {
        const auto room = make_room(2, other);
        CHECK(state_of(room->items, touch(room)) == SlotState::free);
    }
}

TEST_CASE("pool bias: what is kept idle is another thread's for the asking") {
    const auto room = make_room(1);
    touch(room);
    std::thread{[&] {
        const Lease lease = room->items.try_acquire();
        CHECK(lease);
        CHECK(state_of(room->items, 0) == SlotState::held);
    }}.join();
    CHECK(room->items.idle() == 1);
    CHECK(room->items.try_acquire());
    CHECK(room->items.stats().acquired == 3);
}

TEST_CASE("pool bias: what is lent is not stolen") {
    const auto room = make_room(1);
    touch(room);
    const Lease mine = room->items.try_acquire();
    const std::uint64_t word = truth_of(room->items, 0);
    std::thread{[&] {
        CHECK_FALSE(room->items.try_acquire());
        CHECK_FALSE(room->items.acquire_for(std::chrono::milliseconds{1}));
    }}.join();
    CHECK(truth_of(room->items, 0) == word);
}

TEST_CASE("pool bias: all that one thread keeps is found by another one, in a large pool, too") {
    for (const std::uint64_t capacity : {5U, 64U, 100U, 5000U}) {
        const auto room = make_room(capacity);
        std::vector<Lease> all;
        while (auto lease = room->items.try_acquire()) all.push_back(std::move(lease));
        REQUIRE(all.size() == capacity);
        all.clear();
        std::thread{[&] {
            while (auto lease = room->items.try_acquire()) all.push_back(std::move(lease));
        }}.join();
        CHECK(all.size() == capacity);
    }
}

TEST_CASE("pool bias: a lease of a kept slot is given back by another thread") {
    const auto room = make_room(1);
    touch(room);
    Lease lease = room->items.try_acquire();
    std::thread{[moved = std::move(lease)]() mutable { moved.give_back(); }}.join();
    CHECK(room->items.idle() == 1);
    CHECK(state_of(room->items, 0) == SlotState::free);
    // However often: its claim words may run out, but not the slots.
    for (int i = 0; i < 20; ++i) {
        touch(room);
        Lease again = room->items.acquire();
        REQUIRE(again);
        std::thread{[moved = std::move(again)]() mutable { moved.give_back(); }}.join();
    }
    CHECK(room->items.idle() == 1);
}

TEST_CASE("pool bias: a lease of a kept slot outlives its thread") {
    const auto room = make_room(2);
    Lease lease;
    std::thread{[&] {
        touch(room);
        lease = room->items.try_acquire();
    }}.join();
    REQUIRE(lease);
    CHECK(state_of(room->items, lease.index()) == SlotState::held);
    CHECK(room->items.leased() == 1);
    lease->number = 7;
    lease.give_back();
    CHECK(room->items.idle() == 2);
    CHECK(room->items.stats().damaged == 0);
}

TEST_CASE("pool bias: a thread that ends keeps nothing") {
    const auto room = make_room(8);
    std::thread{[&] {
        std::vector<Lease> some;
        for (int i = 0; i < 4; ++i) some.push_back(room->items.try_acquire());
    }}.join();
    for (std::uint64_t i = 0; i < 8; ++i) CHECK(state_of(room->items, i) == SlotState::free);
}

TEST_CASE("pool bias: a kept slot is discarded, detached and emptied as any other") {
    const auto room = make_room(1);
    touch(room);
    room->items.try_acquire().discard();
    CHECK(room->items.stats().empty == 1);
    CHECK(room->items.add(Item{5}));
    touch(room);
    CHECK(room->items.try_acquire().detach().number == 5);
    CHECK(room->items.stats().empty == 1);
    CHECK(room->items.add(Item{6}));
    touch(room);
    CHECK(room->items.clear() == 1);
    CHECK(room->items.stats().empty == 1);
    CHECK_FALSE(room->items.try_acquire());
}

TEST_CASE("pool bias: close ends what other threads keep, and what they have lent") {
    const auto room = make_room(3);
    const support::Flag kept;
    const support::Flag closed;
    std::thread other{[&] {
        touch(room);
        Lease lease = room->items.try_acquire();
        {
            const Lease second = room->items.try_acquire();
            const Lease third = room->items.try_acquire();
        }
        kept.raise();
        closed.wait();
        CHECK_FALSE(room->items.try_acquire());
        lease.give_back();
        CHECK_FALSE(room->items.try_acquire());
    }};
    kept.wait();
    room->items.close();
    CHECK(room->items.stats().empty == 2);
    CHECK(room->items.leased() == 1);
    closed.raise();
    other.join();
    CHECK(room->items.stats().empty == 3);
}

TEST_CASE("pool bias: a thread that ends in a closed pool leaves what it kept to the closer") {
    struct Rooms {
        lagoon::Pool<Item> first{"first", {.capacity = 1}};
        lagoon::Pool<Item> second{"second", {.capacity = 1}};
    };
    auto rooms = lagoon::Arena<Rooms>::create(support::unique_name("bias"),
                                              {.ownership = lagoon::Ownership::biased});
    rooms->first.add({});
    rooms->second.add({});
    const support::Flag kept;
    const support::Flag closed;
    const support::Flag ended;
    int destroyed = 0;
    // The closer ends the first pool's resource while the second one is closed and not emptied yet.
    rooms.hooks(rooms->first, {.destroy = [&](Item&, lagoon::Slot) {
                    closed.raise();
                    ended.wait();
                }});
    rooms.hooks(rooms->second, {.destroy = [&](Item&, lagoon::Slot) { ++destroyed; }});
    std::thread other{[&] {
        CHECK(rooms->second.try_acquire());
        kept.raise();
        closed.wait();
    }};
    kept.wait();
    std::thread closer{[&] { CHECK(rooms.shut_down() == lagoon::Outcome::ok); }};
    other.join();
    CHECK(destroyed == 0);  // a thread that ends runs no hook
    ended.raise();
    closer.join();
    CHECK(destroyed == 1);
}

TEST_CASE("pool bias: a slot that is kept shows its value, its holder and its state") {
    const auto room = make_room(2);
    const std::uint64_t index = touch(room);
    auto all = room->items.snapshot();
    CHECK(all[index].state == lagoon::SlotStatus::idle);
    CHECK(all[index].owner_pid == 0);
    REQUIRE(all[index].value.has_value());
    CHECK(all[index].value->number == static_cast<std::int64_t>(index));
    const Lease lease = room->items.try_acquire();
    all = room->items.snapshot();
    CHECK(all[index].state == lagoon::SlotStatus::leased);
    CHECK(all[index].owner_pid == static_cast<std::uint32_t>(::getpid()));
    CHECK_FALSE(all[index].value.has_value());
}

TEST_CASE("pool bias: what a dead process kept idle is idle, what it had lent is recovered",
          "[process]") {
    const auto room = make_room(2);
    live_and_die([&](auto&& die) {
        touch(room);
        {
            const Lease first = room->items.try_acquire();
            const Lease second = room->items.try_acquire();
        }
        const Lease lent = room->items.try_acquire();
        die();
    });
    const lagoon::Reaped done = support::reap_dead(room);
    CHECK(done.leases == 1);
    CHECK(room->items.idle() == 2);
    const Lease one = room->items.try_acquire();
    const Lease other = room->items.try_acquire();
    CHECK(one.recovered() != other.recovered());
    CHECK(room->items.stats().recovered == 1);
}

TEST_CASE("pool bias: a thief that died leaves the slot to its keeper", "[process]") {
    const auto room = make_room(1);
    if (!keeps(room)) return;
    touch(room);
    const std::uint64_t kept = truth_of(room->items, 0);
    // As a thief leaves it that is killed behind its question.
    std::uint32_t lane = 0;
    const support::Flag there;
    int channel[2];
    REQUIRE(::pipe(channel) == 0);
    Child child{[&]() -> int {
        const auto number = lagoon::detail::lane_of(&support::object_of(room->items)).lane;
        if (::write(channel[1], &number, sizeof number) != sizeof number) return 1;
        there.raise();
        support::wait_for_death();
    }};
    there.wait();
    REQUIRE(::read(channel[0], &lane, sizeof lane) == sizeof lane);
    ::close(channel[0]);
    ::close(channel[1]);
    support::set_truth(room->items, 0, support::word::asked(kept, lane));
    CHECK(child.kill() == support::killed_by(SIGKILL));
    SECTION("who takes it again") {
        const Lease lease = room->items.try_acquire();
        CHECK(lease);
        CHECK(truth_of(room->items, 0) == kept);
    }
    SECTION("another thief takes it") {
        std::thread{[&] { CHECK(room->items.try_acquire()); }}.join();
    }
    SECTION("the repair takes the question back") {
        support::reap_dead(room);
        CHECK(truth_of(room->items, 0) == kept);
    }
    support::reap_dead(room, 0);
    CHECK(room->items.idle() == 1);
}

TEST_CASE("pool bias: a slot that is stolen again and again is kept no more") {
    const auto room = make_room(1);
    if (!keeps(room)) return;
    const auto steal = [&] { std::thread{[&] { CHECK(room->items.try_acquire()); }}.join(); };
    touch(room);
    for (int i = 0; i < 2; ++i) {
        CHECK(state_of(room->items, 0) == SlotState::biased);
        steal();
        touch(room);
    }
    // 64 releases to all, this one with them.
    for (int i = 0; i < 64; ++i) {
        CHECK(state_of(room->items, 0) == SlotState::free);
        touch(room);
    }
    CHECK(state_of(room->items, 0) == SlotState::biased);
}

TEST_CASE("pool bias: a forked child has nothing of what its parent keeps", "[process]") {
    const auto room = make_room(2);
    touch(room);
    Lease lease = room->items.try_acquire();
    Child child{[&]() -> int {
        if (room->items.leased() != 1) return 1;
        auto mine = room->items.try_acquire();
        if (!mine || mine.index() == lease.index()) return 2;
        if (room->items.try_acquire()) return 3;
        mine.give_back();
        return room->items.idle() == 1 ? 0 : 4;
    }};
    CHECK(child.wait() == support::exited(0));
    CHECK(room->items.leased() == 1);
    lease.give_back();
    CHECK(room->items.idle() == 2);
    CHECK(room->items.stats().damaged == 0);
}

TEST_CASE("pool bias: taking again what is kept makes no system call", "[process]") {
    if (support::under_asan) {
        return support::skip("pool bias: taking again what is kept",
                             "address sanitizer makes system calls of its own");
    }
    const auto room = make_room(4);
    touch(room);
    CHECK(support::without_system_calls([&] {
              for (int i = 0; i < 1000; ++i) {
                  const auto one = room->items.try_acquire();
                  const auto other = room->items.try_acquire();
              }
          }) == support::exited(0));
}
