// pairs_points_test.cpp: two operations at a time, halted and killed at each other's points.
#include <lagoon/lagoon.hpp>

#include <catch2/catch.hpp>

#include "kill/holder.hpp"
#include "kill/pairs.hpp"

using rig::Actor;
using rig::cold;
using rig::Model;
using rig::Operation;
using rig::Resource;
using rig::Stage;
using rig::sweep_pair;
using rig::Wide;

namespace {

void take(Actor& actor) { actor.leases.push_back(actor.desk->pool.acquire()); }
void take_both(Actor& actor) {
    take(actor);
    take(actor);
}

const Operation acquire{.name = "acquire",
                        .run = [](Actor& a) { a.leases.push_back(a.desk->pool.try_acquire()); }};
const Operation give_back{
    .name = "give_back", .prepare = take, .run = [](Actor& a) { a.leases.back().give_back(); }};
const Operation give_back_of_two{.name = "give_back", .prepare = take_both, .run = [](Actor& a) {
                                     a.leases.back().give_back();
                                 }};
/// Knows the pool, and finds nothing idle.
const Operation wait_for_one{.name = "acquire after a wait", .run = take};
const Operation create{
    .name = "acquire_or_create", .run = [](Actor& a) {
        a.leases.push_back(a.desk->pool.acquire_or_create([] { return Resource{9}; }));
    }};
const Operation attach{.name = "attach by use",
                       .prepare = cold,
                       .run = [](Actor& a) { (void)a.desk->pool.try_acquire(); },
                       .unattached = true};
const Operation reap{.name = "reap",
                     .run = [](Actor& a) { (void)a.desk.reap(); },
                     .set = rig::hold_everything,
                     .ready = rig::holder_dies,
                     .effect = rig::one_less};

/// `operation` with the scene of another one.
Operation in_scene_of(const Operation& scene, Operation operation) {
    operation.set = scene.set;
    operation.ready = scene.ready;
    operation.effect = scene.effect;
    return operation;
}

}  // namespace

TEST_CASE("kill: acquire and give_back halted and killed at each other's points",
          "[kill][process]") {
    sweep_pair("acquire x give_back", acquire, give_back);
    sweep_pair("give_back x acquire", give_back, acquire);
    sweep_pair("acquire x acquire", acquire, acquire);
    sweep_pair("give_back x acquire after a wait", give_back_of_two, wait_for_one);
}

TEST_CASE("kill: acquire_or_create, values and locks halted and killed at each other's points",
          "[kill][process]") {
    Operation first = create;
    first.set = [](Stage& s) { s.take_all(); };
    first.effect = [](Model& m) { m.pool.insert({9, 10}); };
    Operation second = create;
    second.run = [](Actor& a) {
        a.leases.push_back(a.desk->pool.acquire_or_create([] { return Resource{10}; }));
    };
    sweep_pair("acquire_or_create x acquire_or_create", first, second);
    const Operation write{.name = "store",
                          .run =
                              [](Actor& a) {
                                  a.desk->wide.store(Wide{9, 9, 9, 9, 9});
                              },
                          .effect =
                              [](Model& m) {
                                  m.wide = {9, 9, 9, 9, 9};
                              }};
    sweep_pair("wide Value store x wide Value store", write, write);
    const Operation lock{.name = "lock and unlock", .run = [](Actor& a) {
                             if (!a.desk->lock.lock()) std::abort();
                             a.desk->lock.unlock();
                         }};
    sweep_pair("lock and unlock x lock and unlock", lock, lock);
}

TEST_CASE("kill: repairs halted and killed at the points of those who come meanwhile",
          "[kill][process]") {
    sweep_pair("reap x reap", reap, reap);
    Operation reap_beside = reap;
    reap_beside.ready = rig::holder_dies_beside_others;
    sweep_pair("reap x attach", reap_beside, attach);
    sweep_pair("attach x reap", in_scene_of(reap_beside, attach), reap);
    sweep_pair("reap x acquire", reap_beside, acquire);
    sweep_pair("acquire x reap", in_scene_of(reap_beside, acquire), reap);
}
