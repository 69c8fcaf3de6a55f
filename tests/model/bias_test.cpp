// bias_test.cpp: slots that a thread keeps, beside who steals them, waits for them and repairs
// them.
#include <catch2/catch.hpp>

#include "depth.hpp"
#include "pools.hpp"

using namespace model;

namespace {

const MachineOptions biased{.biased = true};
const MachineOptions few_lanes{.lanes = 2, .biased = true};

template <std::size_t Capacity>
void borrow_once(PoolRoot<Capacity>& root) {
    if (auto lease = root.pool.try_acquire()) PoolScene<Capacity>::borrow(lease);
}
template <std::size_t Capacity>
void borrow_twice(PoolRoot<Capacity>& root) {
    borrow_once(root);
    borrow_once(root);
}
/// It must be had: nobody has it for good, and it is not in a wait that it is looked for.
void borrow_surely(PoolRoot<1>& root) {
    auto lease = root.pool.try_acquire();
    require(static_cast<bool>(lease), "what nobody has is not found");
    PoolScene<1>::borrow(lease);
}
void reap(PoolRoot<1>& root) { detail::repair_the_dead(*detail::attachment_of(&root)); }
detail::SlotState state_of(PoolRoot<1>& root) {
    return detail::word::state(
        detail::pool_slot(PoolScene<1>::pool_of(root), 0).truth.load(std::memory_order_relaxed));
}

}  // namespace

TEST_CASE("model: a slot that is kept is taken again while another one steals it") {
    auto scene = PoolScene<1>("bias.one", biased).idle(1);
    scene.keeper("a", 0, borrow_twice<1>).borrower("b", 1);
    look_everywhere(scene.program(), 2);
}

TEST_CASE("model: a slot that is kept is stolen and stolen back") {
    auto scene = PoolScene<1>("bias.back", biased).idle(1);
    scene.keeper("a", 0, borrow_twice<1>).borrower("b", 1, 2);
    look_everywhere(scene.program(), 2);
}

TEST_CASE("model: two steal what a third one keeps") {
    auto scene = PoolScene<1>("bias.thieves", biased).idle(1);
    scene.keeper("a", 0, borrow_once<1>).borrower("b", 1).borrower("c", 2);
    look_everywhere(scene.program(), 1);
    auto idle = PoolScene<1>("bias.thieves.idle", biased).idle(1);
    idle.keeper("a", 0, [](auto&) {}).borrower("b", 1).borrower("c", 2);
    look_everywhere(idle.program(), 2);
}

TEST_CASE("model: what is kept idle is found by who does not wait") {
    auto scene = PoolScene<1>("bias.found", biased).idle(1);
    scene.keeper("a", 0, [](auto&) {});
    scene.thread("b", 1, borrow_surely);
    look_everywhere(scene.program(), 1);
}

TEST_CASE("model: several slots that are kept are lent at once, beside a thief") {
    auto scene = PoolScene<2>("bias.two", biased).idle(2);
    scene
        .keeper("a", 0,
                [](PoolRoot<2>& root) {
                    auto one = root.pool.try_acquire();
                    auto other = root.pool.try_acquire();
                    if (one) use(*one);
                    if (other) use(*other);
                    one = {};
                    other = {};
                    borrow_once(root);
                })
        .borrower("b", 1, 2);
    look_everywhere(scene.program(), 1);
}

TEST_CASE("model: a release of a kept slot is not missed by who goes to sleep") {
    auto warm = PoolScene<1>("bias.wait", biased).idle(1);
    warm.holder("a", 0, true).waiter("b", 1);
    look_everywhere(warm.program(), 2);
    auto first = PoolScene<1>("bias.wait.first", biased).idle(1);
    first.holder("a", 0).waiter("b", 1);
    look_everywhere(first.program(), 2);
    auto again = PoolScene<1>("bias.wait.again", biased).idle(1);
    again.keeper("a", 0, borrow_twice<1>).waiter("b", 1);
    look_everywhere(again.program(), 2);
    auto two = PoolScene<1>("bias.wait.two", biased).idle(1);
    two.keeper("a", 0, borrow_once<1>).waiter("b", 1).waiter("c", 2);
    look_everywhere(two.program(), 1);
}

TEST_CASE("model: a lease of a kept slot goes to another thread, which gives it back") {
    for (const bool ends : {false, true}) {
        auto scene = PoolScene<1>(ends ? "bias.moved.ends" : "bias.moved", biased).idle(1);
        auto held = std::make_shared<lagoon::Lease<Resource>>();
        scene.actor(
            "a", 0,
            [ends](PoolRoot<1>& root) {
                if (ends) return end_thread();
                borrow_once(root);
            },
            [held](PoolRoot<1>& root) {
                borrow_once(root);
                ::new (held.get()) lagoon::Lease<Resource>{root.pool.try_acquire()};
            });
        scene.thread("b", 0, [held](PoolRoot<1>&) {
            use(**held);
            held->give_back();
        });
        scene.borrower("c", 1);
        look_everywhere(scene.program(), 1);
    }
}

TEST_CASE("model: a thread that ends keeps nothing") {
    auto scene = PoolScene<1>("bias.ends", biased).idle(1);
    scene.keeper("a", 0, [](auto&) { end_thread(); }).borrower("b", 1);
    scene.check([](PoolRoot<1>& root) {
        require(state_of(root) != detail::SlotState::revoking, "a question without an answer");
        PoolScene<1>::check_pool(root);
    });
    look_everywhere(scene.program(), 2);
}

TEST_CASE("model: close finds what is kept") {
    auto scene = PoolScene<1>("bias.close", biased).idle(1);
    scene.keeper("a", 0, borrow_twice<1>);
    scene.thread("b", 1, [](PoolRoot<1>& root) { root.pool.close(); });
    scene.check([](PoolRoot<1>& root) {
        require(root.pool.stats().empty == 1, "a closed pool has something");
    });
    look_everywhere(scene.program(), 2);
}

TEST_CASE("model: a thread that ends beside a closer leaves nothing in the pool") {
    auto scene = PoolScene<1>("bias.ends.close", biased).idle(1);
    scene.keeper("a", 0, [](auto&) { end_thread(); });
    scene.thread("b", 1, [](PoolRoot<1>& root) { root.pool.close(); });
    scene.check([](PoolRoot<1>& root) {
        require(root.pool.stats().empty == 1, "a closed pool has something");
    });
    look_everywhere(scene.program(), 2);
}

TEST_CASE("model: a process that the fence does not reach neither keeps nor steals") {
    MachineOptions mixed = biased;
    mixed.unregistered = {0};
    auto scene = PoolScene<1>("bias.unregistered", mixed).idle(1);
    scene.borrower("a", 0, 2).borrower("b", 1, 2);
    look_everywhere(scene.program(), 1);
}

TEST_CASE("model: a keeper's death brings its slot back") {
    auto scene = PoolScene<1>("bias.death.keeper", biased).idle(1);
    scene.keeper("a", 0, borrow_twice<1>).waiter("b", 1).mortal({0});
    look_everywhere(scene.program(), 1, 1);
    auto thief = PoolScene<1>("bias.death.keeper.thief", biased).idle(1);
    thief.keeper("a", 0, borrow_once<1>).borrower("b", 1).reaper("c", 2).mortal({0});
    look_everywhere(thief.program(), 1, 1);
}

TEST_CASE("model: a thief's death leaves the slot to its keeper") {
    auto scene = PoolScene<1>("bias.death.thief", biased).idle(1);
    scene.keeper("a", 0, borrow_twice<1>).borrower("b", 1).reaper("c", 2).mortal({1});
    scene.check([](PoolRoot<1>& root) {
        reap(root);
        require(state_of(root) != detail::SlotState::revoking, "a dead one's question");
        PoolScene<1>::check_pool(root);
    });
    look_everywhere(scene.program(), 1, 1);
    auto other = PoolScene<1>("bias.death.thief.other", biased).idle(1);
    other.keeper("a", 0, [](auto&) {});
    other.borrower("b", 1).waiter("c", 2).mortal({1});
    look_everywhere(other.program(), 1, 1);
}

TEST_CASE("model: a dead thief's question does not cost the keeper its lease") {
    auto scene = PoolScene<1>("bias.death.thief.lent", biased).idle(1);
    scene.keeper("a", 0, borrow_once<1>).borrower("b", 1);
    scene.thread("c", 2, [](PoolRoot<1>& root) {
        await([] { return is_buried(1) || is_finished(1); });
        reap(root);
        borrow_once(root);
    });
    scene.mortal({1});
    look(scene.program(), Under::coherent, 2, 1);
    look(scene.program(), Under::chance, 2, 1);
}

TEST_CASE("model: a release that meets a thief's question serves who waits") {
    auto scene = PoolScene<1>("bias.wait.thief", biased).idle(1);
    scene.keeper("a", 0, borrow_once<1>).borrower("b", 1).waiter("c", 2);
    look(scene.program(), Under::coherent, 3);
    look(scene.program(), Under::chance, 3);
}

TEST_CASE("model: keeper and thief die") {
    auto scene = PoolScene<1>("bias.death.both", biased).idle(1);
    scene.keeper("a", 0, borrow_once<1>).borrower("b", 1).waiter("c", 2).mortal({0, 1});
    look_everywhere(scene.program(), 1, 2);
}

TEST_CASE("model: who takes over a dead keeper's lane is not robbed by its reapers") {
    auto scene = PoolScene<1>("bias.lane", few_lanes).idle(1);
    scene.keeper("a", 0, borrow_once<1>).reaper("b", 1);
    scene.actor("c", 2, [](PoolRoot<1>& root) {
        await([] { return is_buried(0) || is_finished(0); });
        reap(root);
        borrow_twice(root);
        borrow_once(root);
    });
    scene.mortal({0});
    look_everywhere(scene.program(), 2, 1);
}

TEST_CASE("model: a reaper does not take an older look at a lane for a keeper's death") {
    auto scene = PoolScene<1>("bias.lane.reused", few_lanes).idle(1);
    scene.keeper("a", 0, [](PoolRoot<1>&) { die(); });
    scene.thread("b", 1, [](PoolRoot<1>& root) {
        await([] { return is_buried(0); });
        reap(root);
    });
    scene.actor("c", 2, [](PoolRoot<1>& root) {
        await([] { return is_buried(0); });
        reap(root);
        borrow_twice(root);
        borrow_once(root);
    });
    look_deeply(scene.program(), 2, 2);
}

namespace {
/// As a borrower who writes plainly, but known to the model's histories.
void write_both(const lagoon::Lease<Resource>& lease) {
    if (!lease) return;
    // Y5 relaxed store, no pair: as a plain one.
    detail::as_atomic(lease->a).store(1, std::memory_order_relaxed);
    // Y5 relaxed store, no pair: as above.
    detail::as_atomic(lease->b).store(1, std::memory_order_relaxed);
}
template <std::size_t Capacity>
void look_at_all(PoolRoot<Capacity>& root) {
    for (const auto& slot : root.pool.snapshot()) {
        if (slot.value) require(slot.value->a == slot.value->b, "a mixture was taken");
    }
}
}  // namespace

TEST_CASE("model: a snapshot takes no mixture of what a keeper is writing") {
    // Lent by its claim word where it lies in front, else HELD.
    for (const bool front : {true, false}) {
        auto scene = PoolScene<2>(front ? "bias.snapshot" : "bias.snapshot.behind", biased).idle(2);
        scene.keeper("a", 0, [front](PoolRoot<2>& root) {
            const auto first = root.pool.try_acquire();
            if (front) return write_both(first);
            write_both(root.pool.try_acquire());
        });
        scene.thread("b", 1, look_at_all<2>);
        look_everywhere(scene.program(), 2);
        look_deeply(scene.program(), 1, 2);
    }
}

TEST_CASE("model: a snapshot takes no mixture of what was asked back from a thief") {
    auto scene = PoolScene<1>("bias.snapshot.asked", biased).idle(1);
    scene.keeper("a", 0, [](PoolRoot<1>& root) { write_both(root.pool.try_acquire()); });
    scene.thread("b", 1, [](PoolRoot<1>& root) { write_both(root.pool.try_acquire()); });
    scene.thread("c", 1, look_at_all<1>);
    look_everywhere(scene.program(), 2);
    look_deeply(scene.program(), 2, 2);
}

namespace {
struct TwoPools {
    lagoon::Pool<Resource> pool{"pool", {.capacity = 1, .on_death = lagoon::OnDeath::reuse}};
    lagoon::Pool<Resource> other{"other", {.capacity = 1}};
};
}  // namespace

TEST_CASE("model: a kept slot that comes back after another pool was used serves who waits") {
    auto scene = Scene<TwoPools>("bias.wait.other", biased);
    scene.arranged([](TwoPools& root) { root.pool.add({0, 0}); });
    scene.actor(
        "a", 0,
        [](TwoPools& root) {
            auto lease = root.pool.try_acquire();
            if (lease) use(*lease);
            (void)root.other.try_acquire();
        },
        [](TwoPools& root) { (void)root.pool.try_acquire(); });
    scene.actor(
        "b", 1,
        [](TwoPools& root) {
            auto lease = root.pool.acquire();
            require(static_cast<bool>(lease), "an acquire without a deadline came back empty");
            use(*lease);
        },
        [](TwoPools& root) { (void)detail::lane_of(&root.pool); });
    look_everywhere(scene.program(), 2);
}
