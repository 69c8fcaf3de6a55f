// lock_test.cpp: the lock, its waiters, and the deaths of both.
#include <catch2/catch.hpp>

#include "depth.hpp"
#include "locks.hpp"

using namespace model;
using namespace std::chrono_literals;

TEST_CASE("model: a lock excludes, and nobody sleeps through its release") {
    auto two = LockScene("lock.two");
    two.locker("a", 0, 2).locker("b", 1);
    look_everywhere(two.program(), 3);
    auto three = LockScene("lock.three");
    three.locker("a", 0).locker("b", 1).locker("c", 2);
    look_everywhere(three.program(), 2);
}

TEST_CASE("model: a lock's waiter that gives up leaves the wake-up to the next") {
    auto scene = LockScene("lock.deadline");
    scene.locker("a", 0).locker("b", 1).thread("c", 2, [](LockRoot& root) {
        if (const auto locked = root.lock.try_lock_until(lagoon::detail::Deadline{10ms})) {
            LockScene::work(root, locked);
            root.lock.unlock();
        }
    });
    look_everywhere(scene.program(), 2);
}

TEST_CASE("model: a lock's waiter that gives up marks the lock for the one whose wake-up it had") {
    auto scene = LockScene("lock.deadline.again");
    scene.actor(
        "a", 0, [](LockRoot& root) { root.lock.unlock(); },
        [](LockRoot& root) { (void)root.lock.lock(); });
    const auto try_once = [](LockRoot& root) {
        if (root.lock.try_lock()) root.lock.unlock();
    };
    scene.thread("b", 1, try_once).thread("c", 2, [](LockRoot& root) {
        if (root.lock.try_lock_until(lagoon::detail::Deadline{10ms})) root.lock.unlock();
    });
    look(scene.program(), Under::coherent, 4);
}

TEST_CASE("model: a lock is taken by trying") {
    auto scene = LockScene("lock.try");
    const auto tries = [](LockRoot& root) {
        for (int i = 0; i < 2; ++i) {
            const auto locked = root.lock.try_lock();
            if (!locked) continue;
            LockScene::work(root, locked);
            root.lock.unlock();
        }
    };
    scene.thread("a", 0, tries).thread("b", 1, tries);
    look_everywhere(scene.program(), 3);
}

TEST_CASE("model: a death between a sleeper's last look and its sleep is not slept through") {
    auto scene = LockScene("lock.death");
    scene.locker("a", 0).locker("b", 1).mortal({0});
    look_everywhere(scene.program(), 2, 1);
}

TEST_CASE("model: the death of a lock's woken waiter wakes the next") {
    auto scene = LockScene("lock.death.waiter");
    scene.locker("a", 0).locker("b", 1).locker("c", 2).mortal({1});
    look_everywhere(scene.program(), 1, 1);
}

TEST_CASE("model: two repair a lock beside its next owner") {
    auto scene = LockScene("lock.death.two-reapers");
    scene.locker("a", 0).reaper("b", 1).reaper("c", 2).locker("d", 2).mortal({0});
    look_everywhere(scene.program(), 1, 1);
}

TEST_CASE("model: who takes over a dead one's lane keeps a lock taken with it") {
    auto scene = LockScene("lock.death.lane", {.lanes = 2});
    scene.locker("a", 0).reaper("b", 1);
    scene.actor("c", 2, [](LockRoot& root) {
        await([] { return is_buried(0) || is_finished(0); });
        detail::repair_the_dead(*detail::attachment_of(&root));
        LockScene::work(root, root.lock.lock());
        root.lock.unlock();
    });
    scene.mortal({0});
    look_everywhere(scene.program(), 2, 1);
}

TEST_CASE("model: a lock of a thread that ends is unlocked by another of its process") {
    auto scene = LockScene("lock.hand-over");
    scene
        .thread("a", 0,
                [](LockRoot& root) {
                    LockScene::work(root, root.lock.lock());
                    end_thread();
                })
        .thread("b", 0,
                [](LockRoot& root) {
                    join_actor(0);
                    root.lock.unlock();
                })
        .locker("c", 1);
    look_everywhere(scene.program(), 2);
}

namespace {

const auto repair = [](LockRoot& root) {
    await([] { return is_buried(0); });
    detail::repair_the_dead(*detail::attachment_of(&root));
};
const auto repair_and_lock = [](LockRoot& root) {
    repair(root);
    LockScene::work(root, root.lock.lock());
    require(root.lock.is_locked(), "the lock was taken from a living owner");
    root.lock.unlock();
};

}  // namespace

TEST_CASE("model: a reaper does not take an older look at a lane for a new owner's death") {
    LockScene scene{"lock.lane.reused", {.lanes = 2}};
    const auto locks_and_dies = [](LockRoot& root) {
        (void)root.lock.lock();
        die();
    };
    scene.thread("a", 0, locks_and_dies);
    scene.thread("b", 1, repair);
    scene.actor("c", 2, repair_and_lock);
    look_deeply(scene.program(), 2);
}

TEST_CASE("model: nor for that of an owner who had to wait") {
    LockScene scene{"lock.lane.reused.waiter", {.lanes = 3}};
    scene.thread("a", 0, [](LockRoot&) { die(); });
    scene.thread("b", 1, repair);
    scene.actor("c", 2, repair_and_lock);
    scene.actor(
        "d", 3, [](LockRoot& root) { root.lock.unlock(); },
        [](LockRoot& root) { (void)root.lock.lock(); });
    look_deeply(scene.program(), 2);
}

TEST_CASE("model: a waiter does not take an older look at a lane for nobody's") {
    LockScene scene{"lock.lane.new"};
    // It has no lane before it comes.
    scene.actor("a", 0, [](LockRoot& root) {
        LockScene::work(root, root.lock.lock());
        require(root.lock.is_locked(), "the lock was taken from a living owner");
        root.lock.unlock();
    });
    scene.locker("b", 1);
    look_everywhere(scene.program(), 2);
}

TEST_CASE("model: a lock in nobody's name is unlocked once") {
    // Written by something else: locked by the last lane, which nobody has.
    LockScene scene{"lock.nobodys", {.lanes = 4}};
    scene.arranged([](LockRoot& root) {
        const std::uint64_t word =
            detail::attachment_of(&root)->header->max_lanes - 1 | std::uint64_t{1} << 10;
        std::memcpy(static_cast<void*>(&root.lock), &word, sizeof word);
    });
    scene.locker("a", 0).locker("b", 1).locker("c", 2);
    look_everywhere(scene.program(), 2);
}

TEST_CASE("model: a lock that is marked clean keeps the mark of who waits") {
    LockScene scene{"lock.clean"};
    scene.thread("a", 0, [](LockRoot& root) {
        (void)root.lock.lock();
        root.data.at(0).a = 3;
        die();
    });
    const auto later = [](LockRoot& root) {
        await([] { return is_buried(0); });
        LockScene::work(root, root.lock.lock());
        root.lock.unlock();
    };
    scene.thread("b", 1, later).thread("c", 2, later);
    look_everywhere(scene.program(), 3);
}

TEST_CASE("model: a lock of a thread that ends carries its data, whoever unlocks it") {
    LockScene scene{"lock.hand-over.carries"};
    scene
        .thread("a", 0,
                [](LockRoot& root) {
                    LockScene::work(root, root.lock.lock());
                    end_thread();
                })
        .thread("b", 0,
                [](LockRoot& root) {
                    // It knows from elsewhere that the lock is its process's, and of no data.
                    await([] { return is_finished(0); });
                    root.lock.unlock();
                })
        .locker("c", 1);
    look(scene.program(), Under::coherent, 2);
}
