// pool_test.cpp: taking, giving back and waiting, by every schedule within the bounds.
#include <catch2/catch.hpp>

#include "depth.hpp"
#include "pools.hpp"

using namespace model;
using namespace std::chrono_literals;

namespace {

const MachineOptions by_exchange{.light_store = false};

}  // namespace

TEST_CASE("model: acquire and release of one slot") {
    auto scene = PoolScene<1>("pool.one").idle(1);
    scene.borrower("a", 0, 2).borrower("b", 1);
    look_everywhere(scene.program(), 2);
}

TEST_CASE("model: acquire and release of two slots") {
    auto scene = PoolScene<2>("pool.two").idle(2);
    scene.borrower("a", 0, 2).borrower("b", 1, 2);
    look_everywhere(scene.program(), 2);
}

TEST_CASE("model: acquire and release of one slot by three processes") {
    auto scene = PoolScene<1>("pool.three").idle(1);
    scene.borrower("a", 0).borrower("b", 1).borrower("c", 2);
    look_everywhere(scene.program(), 1);
}

TEST_CASE("model: a release is not missed by who goes to sleep") {
    auto light = PoolScene<1>("pool.wait").idle(1);
    light.holder("a", 0).waiter("b", 1);
    look_everywhere(light.program(), 2);
    look_lagging(light.program(), 1, 2);
    auto exchange = PoolScene<1>("pool.wait.exchange", by_exchange).idle(1);
    exchange.holder("a", 0).waiter("b", 1);
    look_everywhere(exchange.program(), 2);
    look_lagging(exchange.program(), 1, 2);
}

TEST_CASE("model: a release on the fast path is not missed by who goes to sleep") {
    auto light = PoolScene<1>("pool.wait.warm").idle(1);
    light.holder("a", 0, true).waiter("b", 1);
    look_everywhere(light.program(), 2);
    auto exchange = PoolScene<1>("pool.wait.warm.exchange", by_exchange).idle(1);
    exchange.holder("a", 0, true).waiter("b", 1);
    look_everywhere(exchange.program(), 2);
    look_lagging(exchange.program(), 1, 2);
    auto mixed = PoolScene<1>("pool.wait.warm.mixed", {.unregistered = {0}}).idle(1);
    mixed.holder("a", 0, true).waiter("b", 1);
    look_everywhere(mixed.program(), 2);
}

TEST_CASE("model: a release the long way is not missed by who goes to sleep") {
    for (const bool light : {true, false}) {
        PoolScene<1> scene{light ? "pool.wait.long" : "pool.wait.long.exchange",
                           {.light_store = light}};
        auto taken = std::make_shared<detail::Taken>();
        scene.idle(1);
        scene.actor(
            "a", 0,
            [taken](PoolRoot<1>& root) {
                detail::pool_give_back(PoolScene<1>::pool_of(root), *taken,
                                       detail::process_epoch());
            },
            [taken](PoolRoot<1>& root) {
                // The slot's bit stays set, as after a release on the fast path.
                auto& pool = PoolScene<1>::pool_of(root);
                *taken = detail::pool_try_acquire(pool, nullptr);
                detail::PoolBody& body = detail::body_of(pool);
                detail::hints_of(body, detail::Hint::free).set(taken->index);
                body.last_freed.store(0, std::memory_order_relaxed);
            });
        scene.waiter("b", 1);
        look_everywhere(scene.program(), 2);
        look_lagging(scene.program(), 1, 2);
    }
}

TEST_CASE("model: a process that cannot register releases to one that has") {
    auto scene = PoolScene<1>("pool.wait.mixed", {.unregistered = {0}}).idle(1);
    scene.holder("a", 0).waiter("b", 1);
    look_everywhere(scene.program(), 2);
}

TEST_CASE("model: one release serves two waiters, one after the other") {
    auto light = PoolScene<1>("pool.wait.two").idle(1);
    light.holder("a", 0).waiter("b", 1).waiter("c", 2);
    look_everywhere(light.program(), 1);
    auto exchange = PoolScene<1>("pool.wait.two.exchange", by_exchange).idle(1);
    exchange.holder("a", 0).waiter("b", 1).waiter("c", 2);
    look_everywhere(exchange.program(), 1);
}

TEST_CASE("model: two releases serve two waiters") {
    auto scene = PoolScene<2>("pool.wait.both").idle(2);
    scene.holder("a", 0).holder("b", 1).waiter("c", 2).waiter("d", 2);
    look(scene.program(), Under::coherent, 1);
    look(scene.program(), Under::chance, 1);
}

TEST_CASE("model: a waiter whose deadline passes leaves the wake-up to the next") {
    auto scene = PoolScene<1>("pool.deadline").idle(1);
    scene.holder("a", 0).waiter("b", 1).thread("c", 2, [](PoolRoot<1>& root) {
        if (auto lease = root.pool.acquire_until(in_a_while)) use(*lease);
    });
    look_everywhere(scene.program(), 1);
}

TEST_CASE("model: a place is made or waited for") {
    auto scene = PoolScene<1>("pool.make");
    scene.thread("a", 0, make_or_take<PoolRoot<1>>).thread("b", 1, make_or_take<PoolRoot<1>>);
    look_everywhere(scene.program(), 1);
    auto exchange = PoolScene<1>("pool.make.exchange", by_exchange);
    exchange.thread("a", 0, make_or_take<PoolRoot<1>>).thread("b", 1, make_or_take<PoolRoot<1>>);
    look_everywhere(exchange.program(), 1);
}

TEST_CASE("model: a factory that throws leaves its place to who waits") {
    auto scene = PoolScene<1>("pool.throws");
    scene
        .thread("a", 0,
                [](PoolRoot<1>& root) {
                    try {
                        (void)root.pool.acquire_or_create([](Resource&) {
                            step();
                            throw 1;
                        });
                    } catch (int) {
                    }
                })
        .thread("b", 1, make_or_take<PoolRoot<1>>);
    look_everywhere(scene.program(), 2);
}

TEST_CASE("model: an emptied slot is filled by add") {
    auto scene = PoolScene<2>("pool.add").idle(1);
    scene
        .thread("a", 0,
                [](PoolRoot<2>& root) {
                    if (auto lease = root.pool.try_acquire()) lease.discard();
                    root.pool.add({3, 3});
                })
        .thread("b", 1, [](PoolRoot<2>& root) {
            root.pool.add({5, 5});
            if (auto lease = root.pool.try_acquire()) use(*lease);
        });
    look_everywhere(scene.program(), 2);
}

TEST_CASE("model: several slots at once, beside who takes and gives back one") {
    const auto both = [](PoolRoot<2>& root) {
        auto leases = root.pool.acquire_n(2);
        require(leases.size() == 2, "not all of them");
        for (auto& lease : leases) use(*lease);
    };
    auto one = PoolScene<2>("pool.several").idle(2);
    one.thread("a", 0, both).borrower("b", 1);
    look_everywhere(one.program(), 1);
    auto held = PoolScene<2>("pool.several.held").idle(2);
    held.holder("a", 0).thread("b", 1, both);
    look_everywhere(held.program(), 1);
    auto two = PoolScene<2>("pool.several.two").idle(2);
    two.thread("a", 0, both).thread("b", 1, both);
    look_everywhere(two.program(), 1);
    auto exchange = PoolScene<2>("pool.several.exchange", by_exchange).idle(2);
    exchange.holder("a", 0).thread("b", 1, both);
    look_everywhere(exchange.program(), 1);
    for (const bool light : {true, false}) {
        auto warm = PoolScene<2>(light ? "pool.several.warm" : "pool.several.warm.exchange",
                                 {.light_store = light})
                        .idle(2);
        warm.holder("a", 0, true).thread("b", 1, both);
        look_everywhere(warm.program(), 1);
        auto rivals = PoolScene<1>(light ? "pool.several.rivals" : "pool.several.rivals.exchange",
                                   {.light_store = light})
                          .idle(1);
        const auto gather = [](PoolRoot<1>& root) {
            auto leases = root.pool.acquire_n(1);
            use(*leases.at(0));
        };
        rivals.thread("a", 0, gather).thread("b", 1, gather).holder("c", 2, true);
        look(rivals.program(), Under::coherent, 1);
        look(rivals.program(), Under::histories, 1);
        look(rivals.program(), Under::buffers, 1);
    }
}

TEST_CASE("model: several slots at once, for threads that share their process's lane") {
    auto scene = PoolScene<2>("pool.several.shared", {.lanes = 0}).idle(2);
    const auto both = [](PoolRoot<2>& root) {
        auto leases = root.pool.acquire_n(2);
        for (auto& lease : leases) use(*lease);
    };
    scene.thread("a", 0, both).thread("b", 1, both);
    look_everywhere(scene.program(), 1);
}

TEST_CASE("model: what comes back to a pool that was closed is ended") {
    const auto close = [](PoolRoot<1>& root) { root.pool.close(); };
    const auto nothing_idle = [](PoolRoot<1>& root) {
        require(root.pool.idle() == 0, "a closed pool has something idle");
        require(root.pool.leased() == 0, "a slot is still lent");
        require(root.pool.stats().empty == 1, "the slot was not emptied");
    };
    auto scene = PoolScene<1>("pool.close").idle(1);
    scene.holder("a", 0).thread("b", 1, close).check(nothing_idle);
    look_everywhere(scene.program(), 2);
    auto exchange = PoolScene<1>("pool.close.exchange", by_exchange).idle(1);
    exchange.holder("a", 0).thread("b", 1, close).check(nothing_idle);
    look_everywhere(exchange.program(), 2);
    for (const bool warm : {true, false}) {
        for (const bool light : {true, false}) {
            auto lagging = PoolScene<1>("pool.close", {.light_store = light}).idle(1);
            lagging.holder("a", 0, warm).thread("b", 1, close).check(nothing_idle);
            look_lagging(lagging.program(), 2, 2);
        }
    }
}

TEST_CASE("model: who drains a closed pool waits for what is lent") {
    for (const bool light : {true, false}) {
        auto scene =
            PoolScene<1>(light ? "pool.drain" : "pool.drain.exchange", {.light_store = light})
                .idle(1);
        scene.holder("a", 0).thread("b", 1, [](PoolRoot<1>& root) {
            root.pool.close();
            const auto outcome = detail::await_returns(PoolScene<1>::pool_of(root), {});
            require(outcome == lagoon::Outcome::ok && root.pool.leased() == 0, "not drained");
        });
        look_everywhere(scene.program(), 2);
    }
}

TEST_CASE("model: who drains a closed pool sees what was taken back from the dead") {
    auto scene = PoolScene<1>("pool.drain.death").idle(1);
    scene.actor(
        "a", 0, [](PoolRoot<1>&) { die(); },
        [](PoolRoot<1>& root) {
            auto& pool = PoolScene<1>::pool_of(root);
            require(detail::pool_try_acquire(pool, nullptr).word != 0, "nothing to hold");
            detail::body_of(pool).closed.store(1, std::memory_order_relaxed);
        });
    scene.thread("b", 1, [](PoolRoot<1>& root) {
        const auto outcome = detail::await_returns(PoolScene<1>::pool_of(root), {});
        require(outcome == lagoon::Outcome::ok, "not drained");
    });
    scene.thread("c", 2, [](PoolRoot<1>& root) {
        await([] { return is_buried(0); });
        detail::repair_the_dead(*detail::attachment_of(&root));
    });
    scene.check(
        [](PoolRoot<1>& root) { require(root.pool.leased() == 0, "a slot is still lent"); });
    look(scene.program(), Under::coherent, 1);
    look(scene.program(), Under::histories, 1);
}

TEST_CASE("model: hooks that two processes register are both known") {
    const auto registers = [](bool check) {
        return [check](PoolRoot<1>& root) {
            detail::ErasedHooks hooks;
            if (check) hooks.check = [](void*, lagoon::Slot, detail::Deadline) { return true; };
            if (!check) hooks.destroy = [](void*, lagoon::Slot, detail::Deadline) {};
            detail::pool_set_hooks(PoolScene<1>::pool_of(root), std::move(hooks));
        };
    };
    auto scene = PoolScene<1>("pool.hooks").idle(1);
    scene.thread("a", 0, registers(true)).thread("b", 1, registers(false));
    // It has no hook: the slot is emptied, or left for who has one.
    scene.thread("c", 2, [](PoolRoot<1>& root) {
        if (auto lease = root.pool.try_acquire()) lease.discard();
    });
    scene.thread("d", 1, [](PoolRoot<1>& root) {
        for (const int other : {0, 1, 2}) join_actor(other);
        lagoon::Reaped done;
        (void)detail::settle_pool(PoolScene<1>::pool_of(root), done, detail::Effort::hints);
        require(root.pool.stats().empty == 1, "a slot waits for a hook that was run");
    });
    scene.check([](PoolRoot<1>& root) {
        const std::uint64_t known =
            detail::body_of(PoolScene<1>::pool_of(root)).hooks.load(std::memory_order_relaxed);
        require(known == (detail::hook_check | detail::hook_destroy), "a hook was forgotten");
    });
    look_everywhere(scene.program(), 2);
}

TEST_CASE("model: close ends a wait") {
    auto scene = PoolScene<1>("pool.close.wait");
    scene
        .thread("a", 0,
                [](PoolRoot<1>& root) {
                    const auto lease = root.pool.acquire();
                    require(lease.status() == lagoon::Outcome::closed, "not closed");
                })
        .thread("b", 1, [](PoolRoot<1>& root) { root.pool.close(); });
    look_everywhere(scene.program(), 2);
}

TEST_CASE("model: a snapshot takes no mixture of a value that is being written") {
    // Taken by its way through the hints the first time, by the fast path the second time.
    for (const bool warm : {false, true}) {
        auto scene = PoolScene<1>(warm ? "pool.snapshot.warm" : "pool.snapshot").idle(1);
        scene.actor(
            "a", 0,
            [](PoolRoot<1>& root) {
                auto lease = root.pool.try_acquire();
                require(static_cast<bool>(lease), "nothing to take");
                // Y5 relaxed store, no pair: as a plain one, but known to the model's histories.
                detail::as_atomic(lease->a).store(1, std::memory_order_relaxed);
                // Y5 relaxed store, no pair: as above.
                detail::as_atomic(lease->b).store(1, std::memory_order_relaxed);
            },
            [warm](PoolRoot<1>& root) {
                (void)detail::cache_of(PoolScene<1>::pool_of(root));
                if (warm) root.pool.try_acquire().give_back();
            });
        scene.thread("b", 1, [](PoolRoot<1>& root) {
            for (const auto& slot : root.pool.snapshot()) {
                if (slot.value) require(slot.value->a == slot.value->b, "a mixture was taken");
            }
        });
        look_everywhere(scene.program(), 2);
    }
}
