// queue_test.cpp: waiting in the order of one's coming, by every schedule within the bounds.
#include <lagoon/value.hpp>

#include <catch2/catch.hpp>

#include "depth.hpp"
#include "pools.hpp"
#include "runtime/pool_queue.hpp"

using namespace model;
using namespace std::chrono_literals;

namespace {

template <std::size_t Capacity>
struct QueueRoot {
    lagoon::Pool<Resource> pool{"pool",
                                {.capacity = Capacity,
                                 .on_death = lagoon::OnDeath::reuse,
                                 .quarantine_after = 0,
                                 .wait_order = lagoon::WaitOrder::first_come}};
    lagoon::Value<std::uint64_t> served{"served"};
};
template <std::size_t Capacity>
using QueueScene = PoolScene<Capacity, QueueRoot<Capacity>>;

/// The actor has come to the queue, or needs it no more.
void await_in_queue(int actor, int process) {
    await([=] { return is_asleep(actor) || is_finished(actor) || is_killed(process); });
}
/// A place in the queue, and what was taken there.
struct Queued {
    lagoon::Lease<Resource> lease;
    alignas(detail::PlaceInQueue) std::byte bytes[sizeof(detail::PlaceInQueue)];

    [[nodiscard]] detail::PlaceInQueue& place() {
        return *reinterpret_cast<detail::PlaceInQueue*>(bytes);
    }
    /// In the thread that is to wait there, for one slot.
    void come(QueueRoot<2>& root) {
        detail::PoolObject& pool = QueueScene<2>::pool_of(root);
        ::new (bytes)
            detail::PlaceInQueue{pool, detail::cache_of(pool), detail::lane_of(&pool), 1, false};
    }
};
/// Waits for one as the first in the queue, and says so while it has it.
template <class Root>
void wait_as_first(Root& root) {
    auto lease = root.pool.acquire();
    require(static_cast<bool>(lease), "an acquire without a deadline came back empty");
    root.served.store(1);
    QueueScene<1>::borrow(lease);
}

}  // namespace

TEST_CASE("model: whoever sleeps in the queue is not passed by who comes later") {
    auto waits = QueueScene<1>("queue.first").idle(1);
    waits.holder("a", 0).thread("b", 1, wait_as_first<QueueRoot<1>>);
    waits.thread("c", 2, [](QueueRoot<1>& root) {
        await_in_queue(1, 1);
        auto lease = root.pool.acquire();
        require(static_cast<bool>(lease), "an acquire without a deadline came back empty");
        require(root.served.load() == 1, "one who came later was served first");
        use(*lease);
    });
    look_everywhere(waits.program(), 1);
    auto tries = QueueScene<1>("queue.first.tries").idle(1);
    tries.holder("a", 0).thread("b", 1, wait_as_first<QueueRoot<1>>);
    tries.thread("c", 2, [](QueueRoot<1>& root) {
        await_in_queue(1, 1);
        if (auto lease = root.pool.try_acquire()) {
            require(root.served.load() == 1, "a try took what was due to another");
            use(*lease);
        }
    });
    look_everywhere(tries.program(), 2);
}

TEST_CASE("model: one release is not missed in the queue") {
    auto scene = QueueScene<1>("queue.wait").idle(1);
    scene.holder("a", 0).waiter("b", 1);
    look_everywhere(scene.program(), 2);
    look_lagging(scene.program(), 1, 2);
    auto two = QueueScene<1>("queue.wait.two").idle(1);
    two.holder("a", 0).waiter("b", 1).waiter("c", 2);
    look_everywhere(two.program(), 1);
}

TEST_CASE("model: two releases serve two in the queue") {
    auto scene = QueueScene<2>("queue.both").idle(2);
    scene.holder("a", 0).holder("b", 1).waiter("c", 2).waiter("d", 2);
    look(scene.program(), Under::coherent, 1);
    look(scene.program(), Under::chance, 1);
}

TEST_CASE("model: whoever leaves the queue sees what came back while it was the first") {
    auto served = std::make_shared<Queued>();
    auto scene = QueueScene<2>("queue.leaves").idle(2);
    scene.holder("b", 1);
    scene.actor(
        "a", 0,
        [served](QueueRoot<2>&) {
            served->place().leave();
            join_actor(2);
            served->lease.give_back();
        },
        [served](QueueRoot<2>& root) {
            // As behind a wait that has just been served.
            served->come(root);
            served->place().announce();
            ::new (&served->lease) lagoon::Lease<Resource>{root.pool.try_acquire()};
            require(static_cast<bool>(served->lease), "nothing to hold");
        });
    scene.waiter("c", 2);
    look_everywhere(scene.program(), 2);
}

TEST_CASE("model: one whose deadline passes in the queue leaves its turn to the next") {
    auto scene = QueueScene<1>("queue.deadline").idle(1);
    scene.holder("a", 0);
    scene.thread("b", 1, [](QueueRoot<1>& root) {
        if (auto lease = root.pool.acquire_until(in_a_while)) use(*lease);
    });
    scene.thread("c", 2, [](QueueRoot<1>& root) {
        await_in_queue(1, 1);
        auto lease = root.pool.acquire();
        require(static_cast<bool>(lease), "an acquire without a deadline came back empty");
        use(*lease);
    });
    look_everywhere(scene.program(), 1);
    look_lagging(scene.program(), 1, 1);
}

TEST_CASE("model: what was due to one who dies in the queue is the next one's") {
    auto scene = QueueScene<1>("queue.dies").idle(1);
    scene.holder("a", 0).waiter("b", 1).waiter("c", 2);
    scene.mortal({1});
    look_everywhere(scene.program(), 1, 1);
}

TEST_CASE("model: two are left in the queue by one who dies") {
    auto scene = QueueScene<1>("queue.dies.two").idle(1);
    scene.holder("a", 0).waiter("b", 1).waiter("c", 2).waiter("d", 3);
    scene.mortal({1});
    look(scene.program(), Under::coherent, 1, 1);
    look(scene.program(), Under::chance, 1, 1);
}

TEST_CASE("model: a releaser who dies leaves nobody asleep in the queue") {
    auto scene = QueueScene<1>("queue.releaser").idle(1);
    scene.holder("a", 0).waiter("b", 1);
    scene.mortal({0});
    look_everywhere(scene.program(), 1, 1);
}

TEST_CASE("model: places are made and waited for in the queue") {
    auto scene = QueueScene<1>("queue.make");
    scene.thread("a", 0, make_or_take<QueueRoot<1>>).thread("b", 1, make_or_take<QueueRoot<1>>);
    look_everywhere(scene.program(), 1);
}

TEST_CASE("model: several are gathered in the queue beside who wants one") {
    auto scene = QueueScene<2>("queue.several").idle(2);
    scene.holder("a", 0);
    scene.thread("b", 1, [](QueueRoot<2>& root) {
        auto leases = root.pool.acquire_n(2);
        require(leases.size() == 2, "an acquire_n without a deadline came back empty");
        root.served.store(1);
        for (auto& lease : leases) use(*lease);
    });
    scene.thread("c", 2, [](QueueRoot<2>& root) {
        await_in_queue(1, 1);
        auto lease = root.pool.acquire();
        require(root.served.load() == 1, "one who came later was served first");
        use(*lease);
    });
    look_everywhere(scene.program(), 1);
}

TEST_CASE("model: who gathers behind one that does not go on has what is left") {
    auto first = std::make_shared<Queued>();
    auto scene = QueueScene<2>("queue.several.behind").idle(2);
    scene.holder("a", 0);
    scene.actor(
        "b", 1,
        [first](QueueRoot<2>&) {
            first->place().announce();
            join_actor(2);  // as if it were stopped with its mark, before its fence
            first->place().leave();
        },
        [first](QueueRoot<2>& root) { first->come(root); });
    scene.thread("c", 2, [](QueueRoot<2>& root) {
        auto leases = root.pool.acquire_n(1);
        require(leases.size() == 1, "an acquire_n without a deadline came back empty");
        use(*leases[0]);
    });
    look_everywhere(scene.program(), 2);
}
