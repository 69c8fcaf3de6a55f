// life_test.cpp: ending what is idle too long, and checking what is to be lent, by every schedule
// within the bounds.
#include <lagoon/value.hpp>

#include <catch2/catch.hpp>

#include "depth.hpp"
#include "pools.hpp"
#include "runtime/pool_life.hpp"

using namespace model;
using namespace std::chrono_literals;

namespace {

lagoon::PoolOptions with_life(std::uint64_t capacity, const lagoon::PoolLife& life) {
    return {.capacity = capacity,
            .on_death = lagoon::OnDeath::reuse,
            .quarantine_after = 0,
            .life = life};
}

template <std::size_t Capacity>
struct IdleRoot {
    lagoon::Pool<Resource> pool{"pool", with_life(Capacity, {.idle_timeout = 1ns, .min_size = 1})};
    lagoon::Pool<Resource> none{"none", {.capacity = 1}};
};
using IdleScene = PoolScene<2, IdleRoot<2>>;

template <std::size_t Capacity>
struct CheckedRoot {
    lagoon::Pool<Resource> pool{"pool", with_life(Capacity, {.validate_after = 0ns})};
};
template <std::size_t Capacity>
using CheckedScene = PoolScene<Capacity, CheckedRoot<Capacity>>;

struct OverdueRoot {
    lagoon::Pool<Resource> pool{"pool", with_life(2, {.lease_limit = 1ms})};
    lagoon::Pool<Resource> none{"none", {.capacity = 1}};
    lagoon::Value<std::uint64_t> told{"told"};
};
using OverdueScene = PoolScene<2, OverdueRoot>;

/// Modelled time stands still until a sleep is over.
IdleScene idle_scene(const char* name) {
    IdleScene scene{name};
    scene.arranged([](IdleRoot<2>& root) {
        for (std::uint64_t slot = 0; slot < 2; ++slot) {
            root.pool.add({0, 0});
            detail::PoolBody& body = detail::body_of(IdleScene::pool_of(root));
            // They came back when modelled time began.
            detail::record_of(body, slot).returned_ns.store(0, std::memory_order_relaxed);
        }
        // Who ends them begins with the one that is lent first.
        detail::body_of(IdleScene::pool_of(root)).duty_at.store(1, std::memory_order_relaxed);
    });
    scene.thread("clock", 3, [](auto& root) { (void)root.none.acquire_until(in_a_while); });
    return scene;
}
void end_idle(IdleRoot<2>& root) {
    await([] { return now() != 0; });
    (void)detail::end_idle(IdleScene::pool_of(root), 2);
}
/// Runs on_overdue for all that is out for too long.
void tell_overdue(OverdueScene& scene, const char* name, int process) {
    scene.actor(
        name, process,
        [](OverdueRoot& root) {
            await([] { return now() != 0; });
            detail::tell_overdue(OverdueScene::pool_of(root), detail::Piece::all);
        },
        [](OverdueRoot& root) {
            detail::PoolObject& pool = OverdueScene::pool_of(root);
            detail::pool_private(*detail::attachment_of(&root), pool).hooks.on_overdue =
                [&root](const lagoon::OverdueLease&) { root.told.fetch_add(1); };
            (void)detail::cache_of(pool);
        });
}
/// As CheckedScene::waiter, of a process with a check.
template <class Scene, bool passes>
void check_and_borrow(Scene& scene, const char* name, int process) {
    scene.actor(
        name, process,
        [](auto& root) {
            if (auto lease = root.pool.acquire_until({})) {
                Scene::require_mine(root, lease);
                Scene::borrow(lease);
            }
        },
        [](auto& root) {
            detail::PoolObject& pool = Scene::pool_of(root);
            detail::pool_private(*detail::attachment_of(&root), pool).hooks.check =
                [](void* resource, lagoon::Slot, detail::Deadline) {
                    // Whose slot it is while it is checked: nobody else is at it.
                    auto& checked = *static_cast<Resource*>(resource);
                    checked.b = checked.a;  // perhaps its last borrower died in the middle
                    use(checked);
                    return passes;
                };
            (void)detail::cache_of(pool);
        });
}

}  // namespace

TEST_CASE("model: two end what is idle too long, and leave the least that is to stay") {
    auto scene = idle_scene("life.duty");
    scene.thread("a", 0, end_idle).thread("b", 1, end_idle);
    scene.check(
        [](IdleRoot<2>& root) { require(root.pool.stats().idle == 1, "not one was left"); });
    look_everywhere(scene.program(), 2);
}

TEST_CASE("model: one who dies with the duty is replaced") {
    auto scene = idle_scene("life.duty.dies");
    scene.thread("a", 0, end_idle);
    scene.thread("b", 1, [](IdleRoot<2>& root) {
        // The first actor is the clock. Who is killed is proved dead when it is buried.
        await([] { return is_buried(0) || (is_finished(1) && !is_killed(0)); });
        if (!is_killed(0)) join_actor(1);
        detail::repair_the_dead(*detail::attachment_of(&root));
        end_idle(root);
        require(root.pool.stats().idle == 1, "a dead one's duty was not taken over");
    });
    scene.mortal({0});
    look_everywhere(scene.program(), 1, 1);
}

TEST_CASE("model: ending what is idle too long, beside who borrows it") {
    auto scene = idle_scene("life.borrowed");
    scene.thread("a", 0, end_idle);
    scene.thread("b", 1, [](IdleRoot<2>& root) {
        await([] { return now() != 0; });
        if (auto lease = root.pool.try_acquire()) {
            IdleScene::require_mine(root, lease);
            IdleScene::borrow(lease);
        }
    });
    look_everywhere(scene.program(), 2);
}

TEST_CASE("model: of two who meet an overdue lease one tells of it") {
    auto scene = OverdueScene("life.overdue").idle(1);
    auto held = std::make_shared<lagoon::Lease<Resource>>();
    scene.actor(
        "clock", 3,
        [held](OverdueRoot& root) {
            (void)root.none.acquire_until(in_a_while);
            join_actor(1);
            join_actor(2);
            held->give_back();
        },
        [held](OverdueRoot& root) {
            ::new (held.get()) lagoon::Lease<Resource>{root.pool.try_acquire()};
            require(static_cast<bool>(*held), "nothing to hold");
        });
    tell_overdue(scene, "a", 0);
    tell_overdue(scene, "b", 1);
    scene.check([](OverdueRoot& root) { require(root.told.load() == 1, "it was not told once"); });
    look_everywhere(scene.program(), 2);
}

TEST_CASE("model: a borrower's check, beside who repairs it and who borrows") {
    auto scene = CheckedScene<1>("life.check");
    scene.idle(1);
    check_and_borrow<CheckedScene<1>, true>(scene, "a", 0);
    scene.reaper("b", 1).borrower("c", 2);
    scene.mortal({0});
    look_everywhere(scene.program(), 1, 1);
}

TEST_CASE("model: a check that fails, beside one that passes") {
    auto scene = CheckedScene<1>("life.check.fails");
    scene.idle(1);
    check_and_borrow<CheckedScene<1>, false>(scene, "a", 0);
    check_and_borrow<CheckedScene<1>, true>(scene, "b", 1);
    look_everywhere(scene.program(), 2);
}

TEST_CASE("model: a broken lease that is given back, beside who makes another") {
    auto scene = PoolScene<1>("life.broken").idle(1);
    auto held = std::make_shared<lagoon::Lease<Resource>>();
    scene.actor(
        "a", 0,
        [held](PoolRoot<1>&) {
            held->mark_broken();
            use(**held);
            held->give_back();
        },
        [held](PoolRoot<1>& root) {
            ::new (held.get()) lagoon::Lease<Resource>{root.pool.try_acquire()};
            require(static_cast<bool>(*held), "nothing to hold");
        });
    scene.thread("b", 1, [](PoolRoot<1>& root) {
        auto lease = root.pool.acquire_or_create([](Resource& made) { made = {7, 7}; });
        require(static_cast<bool>(lease) && lease->a == 7, "a broken one was lent again");
        use(*lease);
    });
    look_everywhere(scene.program(), 2);
}
