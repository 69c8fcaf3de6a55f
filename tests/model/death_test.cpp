// death_test.cpp: processes killed between any two steps, beside who waits and who repairs.
#include <catch2/catch.hpp>

#include "depth.hpp"
#include "pools.hpp"

using namespace model;

namespace {

const MachineOptions by_exchange{.light_store = false};
/// As few lanes as actors that begin with one: who comes later gets the dead one's.
const MachineOptions two_lanes{.lanes = 2};

template <class Root>
void hold_a_while(Root& root) {
    if (auto lease = root.pool.try_acquire()) {
        PoolScene<1>::borrow(lease);
        PoolScene<1>::require_mine(root, lease);
    }
}

}  // namespace

TEST_CASE("model: a borrower's death brings its slot back to who waits") {
    auto light = PoolScene<1>("death.holder").idle(1);
    light.holder("a", 0).waiter("b", 1).mortal({0});
    look_everywhere(light.program(), 1, 1);
    auto exchange = PoolScene<1>("death.holder.exchange", by_exchange).idle(1);
    exchange.holder("a", 0).waiter("b", 1).mortal({0});
    look_everywhere(exchange.program(), 1, 1);
}

TEST_CASE("model: a waiter's death leaves its wake-up to the next") {
    auto scene = PoolScene<1>("death.waiter").idle(1);
    scene.holder("a", 0).waiter("b", 1).waiter("c", 2).mortal({1});
    look_everywhere(scene.program(), 1, 1);
}

TEST_CASE("model: two repair one death, and one of them may die, too") {
    auto both = PoolScene<1>("death.two-reapers").idle(1);
    both.borrower("a", 0).reaper("b", 1).reaper("c", 2).mortal({0});
    look_everywhere(both.program(), 1, 1);
    auto dying = PoolScene<1>("death.reaper-dies").idle(1);
    dying.borrower("a", 0).reaper("b", 1).waiter("c", 2).mortal({0, 1});
    look_everywhere(dying.program(), 1, 2);
}

TEST_CASE("model: who takes over a dead one's lane is not robbed by its reapers") {
    auto scene = PoolScene<1>("death.lane", two_lanes).idle(1);
    scene.borrower("a", 0).reaper("b", 1);
    scene.actor("c", 2, [](PoolRoot<1>& root) {
        await([] { return is_buried(0) || is_finished(0); });
        detail::repair_the_dead(*detail::attachment_of(&root));
        hold_a_while(root);
        hold_a_while(root);
    });
    scene.mortal({0});
    look_everywhere(scene.program(), 2, 1);
}

TEST_CASE("model: who takes over a dead one's member entry is not robbed by its reapers") {
    auto scene = PoolScene<1>("death.member", two_lanes).idle(1);
    scene.borrower("a", 0).reaper("b", 1);
    scene.actor(
        "c", 2,
        [](PoolRoot<1>& root) {
            await([] { return is_buried(0) || is_finished(0); });
            if (!is_buried(0)) return;
            join();
            hold_a_while(root);
        },
        [](PoolRoot<1>&) { leave(); });
    // Another one has the free entry: there is only the dead one's.
    scene.mortal({0});
    look_everywhere(scene.program(), 2, 1);
}

TEST_CASE("model: a builder's death leaves a slot to be destroyed") {
    const auto make = [](PoolRoot<1>& root) {
        auto lease = root.pool.acquire_or_create([](Resource& made) {
            made.a = 7;
            step();
            made.b = 7;
        });
        require(static_cast<bool>(lease), "neither a resource nor a place");
        PoolScene<1>::borrow(lease);
    };
    auto scene = PoolScene<1>("death.builder");
    scene.thread("a", 0, make).thread("b", 1, make).mortal({0});
    look_everywhere(scene.program(), 1, 1);
}

TEST_CASE("model: a death while a slot is emptied leaves a slot to be emptied") {
    auto scene = PoolScene<1>("death.discard").idle(1);
    scene
        .thread("a", 0,
                [](PoolRoot<1>& root) {
                    if (auto lease = root.pool.try_acquire()) lease.discard();
                })
        .thread("b", 1,
                [](PoolRoot<1>& root) {
                    auto lease = root.pool.acquire_or_create([](Resource& made) { made = {1, 1}; });
                    PoolScene<1>::borrow(lease);
                })
        .mortal({0});
    look_everywhere(scene.program(), 1, 1);
}

TEST_CASE("model: the death of who gathers several slots leaves the right to the next") {
    const auto both = [](PoolRoot<2>& root) {
        auto leases = root.pool.acquire_n(2);
        require(leases.size() == 2, "not all of them");
        for (auto& lease : leases) PoolScene<2>::borrow(lease);
    };
    auto scene = PoolScene<2>("death.gatherer").idle(2);
    scene.thread("a", 0, both).thread("b", 1, both).mortal({0});
    look_everywhere(scene.program(), 1, 1);
}

TEST_CASE("model: a mark of a dead lane does not keep a wake-up from others") {
    auto scene = PoolScene<1>("death.mark", {.lanes = 3}).idle(1);
    scene.holder("a", 0).waiter("b", 1).reaper("c", 2);
    scene.actor("d", 2, [](PoolRoot<1>& root) {
        await([] { return is_killed(1) || is_finished(1); });
        auto lease = root.pool.acquire();
        PoolScene<1>::borrow(lease);
    });
    scene.mortal({1});
    look(scene.program(), Under::coherent, 1, 1);
    look(scene.program(), Under::chance, 1, 1);
}

namespace {

const auto take_and_die = [](PoolRoot<1>& root) {
    const auto lease = root.pool.try_acquire();
    die();
};
const auto repair_then = [](PoolRoot<1>& root) {
    await([] { return is_buried(0); });
    detail::repair_the_dead(*detail::attachment_of(&root));
};
/// Two leases, so that a slot may come to its new owner twice.
const auto repair_and_hold = [](PoolRoot<1>& root) {
    repair_then(root);
    hold_a_while(root);
    hold_a_while(root);
};

}  // namespace

TEST_CASE("model: a reaper does not take an older look at a lane for a borrower's death") {
    auto scene = PoolScene<1>("pool.lane.reused", two_lanes).idle(1);
    scene.thread("a", 0, take_and_die).thread("b", 1, repair_then).actor("c", 2, repair_and_hold);
    look_deeply(scene.program(), 2, 2);
}

TEST_CASE("model: a reaper does not take an older look at a member for a borrower's death") {
    // No lanes: words name members.
    auto scene = PoolScene<1>("pool.member.reused", {.lanes = 0}).idle(1);
    scene.actor("a", 0, take_and_die).actor("b", 1, repair_then);
    scene.actor(
        "c", 2,
        [](PoolRoot<1>& root) {
            repair_then(root);
            join();
            hold_a_while(root);
            hold_a_while(root);
        },
        [](PoolRoot<1>&) {});
    look_deeply(scene.program(), 2);
}

TEST_CASE("model: a dead builder's filling is begun once") {
    auto scene = PoolScene<1>("pool.builder.reused", two_lanes);
    const auto build_and_die = [](PoolRoot<1>& root) {
        auto lease = root.pool.acquire_or_create([](Resource&) { die(); });
    };
    const auto build = [](PoolRoot<1>& root) {
        repair_then(root);
        auto lease = root.pool.try_acquire_or_create([](Resource& made) { made = {1, 1}; });
        if (!lease) return;
        require(lease.fill() == 2, "a filling was begun twice or never");
        PoolScene<1>::borrow(lease);
    };
    scene.thread("a", 0, build_and_die).thread("b", 1, repair_then).actor("c", 2, build);
    look_deeply(scene.program(), 2);
}

TEST_CASE("model: a dead gatherer's right goes to one") {
    auto scene = PoolScene<1>("pool.gatherer.reused", two_lanes).idle(1);
    const auto gather = [](PoolRoot<1>& root) {
        auto leases = root.pool.acquire_n(1);
        require(leases.size() == 1, "not all of them");
        if (this_process() == 0) die();
        PoolScene<1>::borrow(leases.front());
    };
    scene.thread("a", 0, gather).thread("b", 1, gather).actor("c", 2, [=](PoolRoot<1>& root) {
        repair_then(root);
        gather(root);
    });
    look_deeply(scene.program(), 1);
    look(scene.program(), Under::coherent, 1);
}

TEST_CASE("model: a late count of a death does not fall on the next filling") {
    auto scene = PoolScene<1>("pool.count.late").idle(1);
    auto filled = std::make_shared<bool>();
    scene.thread("a", 0, take_and_die).thread("b", 1, repair_then);
    scene.actor(
        "c", 2,
        [filled](PoolRoot<1>& root) {
            repair_then(root);
            if (auto lease = root.pool.try_acquire()) lease.discard();
            auto lease = root.pool.try_acquire_or_create([](Resource& made) { made = {1, 1}; });
            *filled = lease && lease.fill() == 2;
        },
        [filled](PoolRoot<1>& root) {
            *filled = false;
            (void)detail::cache_of(PoolScene<1>::pool_of(root));
        });
    scene.check([filled](PoolRoot<1>& root) {
        PoolScene<1>::check_pool(root);
        const auto& slot = detail::pool_slot(PoolScene<1>::pool_of(root), 0);
        const std::uint64_t meta = slot.meta.load(std::memory_order_relaxed);
        if (!*filled) return;  // b was at the slot all the time
        require(detail::meta::fill(meta) == 2, "a filling was forgotten");
        require(detail::meta::deaths(meta) == 0, "a death is counted on the wrong filling");
    });
    look_deeply(scene.program(), 2);
}

TEST_CASE("model: who is stopped while it settles hides no slot from the others") {
    using Scene = PoolScene<1>;
    constexpr auto settle = [](PoolRoot<1>& root) {
        lagoon::Reaped done;
        (void)detail::settle_pool(Scene::pool_of(root), done, detail::Effort::hints);
    };
    auto scene = Scene("settle.stopped").idle(1);
    // It has no destroy. Killed, and not known to be dead, it is one who is stopped.
    scene.thread("a", 0, settle);
    scene.actor(
        "b", 1,
        [=](PoolRoot<1>& root) {
            await([] { return is_killed(0) || is_finished(0); });
            settle(root);
            require(root.pool.stats().dirty == 0, "a slot is out of sight");
        },
        [](PoolRoot<1>& root) {
            detail::PoolObject& pool = Scene::pool_of(root);
            detail::pool_private(*detail::attachment_of(&root), pool).hooks.destroy =
                [](void*, lagoon::Slot, detail::Deadline) {};
            // O12 release RMW -> O11.
            detail::body_of(pool).hooks.fetch_or(detail::hook_destroy, std::memory_order_release);
        });
    scene.actor(
        "c", 2, [](PoolRoot<1>&) {}, [](PoolRoot<1>& root) { root.pool.try_acquire().discard(); });
    scene.mortal({0});
    look_everywhere(scene.program(), 1, 1);
}

TEST_CASE("model: who is stopped while it looks for a place hides none from the others") {
    auto scene = PoolScene<1>("create.stopped");
    const auto make = [](PoolRoot<1>& root) {
        return root.pool.try_acquire_or_create([](Resource& made) { made = {1, 1}; });
    };
    scene.thread("a", 0, [=](PoolRoot<1>& root) { (void)make(root); });
    scene.thread("b", 1, [=](PoolRoot<1>& root) {
        if (auto lease = make(root)) lease.discard();
        await([] { return is_killed(0) || is_finished(0); });
        if (make(root)) return;
        const std::uint64_t word =
            detail::truth_of(detail::body_of(PoolScene<1>::pool_of(root)), 0);
        require(detail::word::state(word) != detail::SlotState::empty,
                "an empty slot is out of sight");
    });
    scene.mortal({0});
    look_everywhere(scene.program(), 2, 1);
}

TEST_CASE("model: a bit restored for a dead one is not swept by an older look at its slot") {
    PoolScene<1> scene{"death.dirty.owed"};
    scene.idle(1);
    auto taken = std::make_shared<detail::Taken>();
    const auto settle = [](PoolRoot<1>& root) {
        lagoon::Reaped done;
        (void)detail::settle_pool(PoolScene<1>::pool_of(root), done, detail::Effort::hints);
    };
    scene.actor(
        "a", 0,
        [taken](PoolRoot<1>& root) {
            // Killed between its word and the bit.
            std::uint64_t word = taken->word;
            const std::uint64_t dirty =
                detail::word::next_dirty(word, detail::DirtyReason::must_destroy);
            (void)detail::move_truth(detail::body_of(PoolScene<1>::pool_of(root)), taken->index,
                                     word, dirty);
            die();
        },
        [taken](PoolRoot<1>& root) {
            *taken = detail::pool_try_acquire(PoolScene<1>::pool_of(root), nullptr);
        });
    scene.thread("b", 1, repair_then).thread("c", 2, settle);
    scene.check([settle](PoolRoot<1>& root) {
        settle(root);
        require(root.pool.stats().empty == 1, "a dirty slot was not found");
    });
    look_everywhere(scene.program(), 2);
}
