// members_test.cpp: members and lanes that come and go beside who asks whether they are dead.
#include <array>
#include <memory>

#include <catch2/catch.hpp>

#include <lagoon/sharded_counter.hpp>

#include "depth.hpp"
#include "pools.hpp"

using namespace model;

namespace {

struct Empty {
    lagoon::ShardedCounter counter{"counter"};
};

const auto add_one = [](Empty& root) { root.counter.add(1); };
const auto claim = [](Empty& root) { (void)detail::lane_of(&root.counter); };
const auto nobody_is_dead = [](Empty& root) {
    const auto done = detail::repair_the_dead(*detail::attachment_of(&root));
    require(done.processes == 0, "a living process was taken for dead");
};
const auto repair = [](Empty& root) { detail::repair_the_dead(*detail::attachment_of(&root)); };
const auto come_and_go = [](Empty&) {
    leave();
    join();
};

}  // namespace

TEST_CASE("model: a member that leaves and comes is never taken for dead") {
    Scene<Empty> scene{"members.leave"};
    scene.actor("a", 0, come_and_go).actor("b", 1, nobody_is_dead).actor("c", 2, come_and_go);
    look_everywhere(scene.program(), 2);
}

TEST_CASE("model: of a member that leaves and dies one repair is counted at the most") {
    Scene<Empty> scene{"members.death"};
    const auto reap = [](Empty& root) {
        const auto done = detail::repair_the_dead(*detail::attachment_of(&root));
        require(done.processes <= (is_killed(0) ? 1 : 0), "a living process was taken for dead");
    };
    scene.actor("a", 0, come_and_go).actor("b", 1, reap).actor("c", 2, reap).mortal({0});
    look_everywhere(scene.program(), 2, 1);
}

TEST_CASE("model: a dead one's entry is taken by the next who comes") {
    Scene<Empty> scene{"members.next"};
    scene.actor("a", 0, come_and_go)
        .actor(
            "b", 1,
            [](Empty& root) {
                await([] { return is_buried(0) || is_finished(0); });
                join();
                add_one(root);
            },
            [](Empty&) { leave(); })
        .actor("c", 2, [](Empty& root) { detail::repair_the_dead(*detail::attachment_of(&root)); });
    scene.check([](Empty& root) {
        detail::repair_the_dead(*detail::attachment_of(&root));
        require(root.counter.load() == 1, "the counter is wrong");
    });
    scene.mortal({0});
    look_everywhere(scene.program(), 2, 1);
}

TEST_CASE("model: a dead one's entry is not freed under its next owner") {
    Scene<Empty> scene{"members.freed"};
    scene
        .actor(
            "a", 0, [](Empty&) { die(); }, claim)
        .actor("b", 1,
               [](Empty& root) {
                   await([] { return is_buried(0); });
                   repair(root);
               })
        .actor(
            "c", 2,
            [](Empty& root) {
                await([] { return is_buried(0); });
                repair(root);
                join();
                const detail::LaneView& lane = detail::lane_of(&root.counter);
                step();
                require(detail::lane_lives(*lane.attachment, lane.lane), "its lane was freed");
                require(detail::lane_lives(*lane.attachment, lane.member), "its entry was freed");
            },
            [](Empty&) { leave(); });
    look(scene.program(), Under::coherent, 2);
    look_deeply(scene.program(), 2);
}

TEST_CASE("model: a lane's next owner goes on with its stripe") {
    Scene<Empty> ended{"lanes.ended", {.lanes = 2}};
    ended
        .actor(
            "a", 0,
            [](Empty& root) {
                add_one(root);
                end_thread();
            },
            claim)
        .actor("b", 1, add_one, claim)
        .actor("c", 2, [](Empty& root) {
            add_one(root);
            add_one(root);
        });
    ended.check([](Empty& root) { require(root.counter.load() == 4, "an addition was lost"); });
    look_everywhere(ended.program(), 2);
    Scene<Empty> dead{"lanes.dead", {.lanes = 2}};
    dead.actor("a", 0, add_one, claim).actor("b", 1, repair, claim).actor("c", 2, [](Empty& root) {
        add_one(root);
        add_one(root);
    });
    dead.check([](Empty& root) {
        const auto sum = root.counter.load();
        require(sum == 2 || sum == 3, "an addition was lost");
    });
    dead.mortal({0});
    look_everywhere(dead.program(), 2, 1);
}

TEST_CASE("model: no two threads claim one lane") {
    Scene<Empty> scene{"lanes.claimed", {.lanes = 2}};
    auto lanes = std::make_shared<std::array<std::uint32_t, 2>>();
    for (const int process : {0, 1}) {
        scene.actor(process == 0 ? "a" : "b", process, [lanes, process](Empty& root) {
            (*lanes)[process] = detail::lane_of(&root.counter).lane;
        });
    }
    scene.check([lanes](Empty&) { require((*lanes)[0] != (*lanes)[1], "one lane for two"); });
    look_everywhere(scene.program(), 2);
}

TEST_CASE("model: threads without a lane of their own count in their process's") {
    Scene<Empty> scene{"lanes.shared", {.lanes = 0}};
    scene.actor("a", 0, add_one).actor("b", 0, add_one).actor("c", 1, add_one);
    scene.check([](Empty& root) { require(root.counter.load() == 3, "an addition was lost"); });
    look_everywhere(scene.program(), 2);
}

TEST_CASE("model: a lease of a thread that ends is given back by another thread") {
    for (const bool light : {true, false}) {
        auto scene = PoolScene<1>(light ? "lanes.hand-over" : "lanes.hand-over.exchange",
                                  {.light_store = light})
                         .idle(1);
        auto held = std::make_shared<lagoon::Lease<Resource>>();
        scene.actor(
            "a", 0, [](PoolRoot<1>&) { end_thread(); },
            [held](PoolRoot<1>& root) {
                ::new (held.get()) lagoon::Lease<Resource>{root.pool.try_acquire()};
            });
        scene
            .thread("b", 0,
                    [held](PoolRoot<1>&) {
                        use(**held);
                        held->give_back();
                    })
            .waiter("c", 1);
        look_everywhere(scene.program(), 2);
    }
}

TEST_CASE("model: threads that share their process's lane wait, too") {
    auto scene = PoolScene<1>("lanes.shared.wait", {.lanes = 1}).idle(1);
    scene.holder("a", 0).waiter("b", 1).waiter("c", 1);
    look(scene.program(), Under::coherent, 1);
    look(scene.program(), Under::chance, 1);
}
