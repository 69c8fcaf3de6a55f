// reap_points_test.cpp: a repairer killed at the instructions of the repair; threads that end, and
// processes that leave.
#include <lagoon/lagoon.hpp>

#include <catch2/catch.hpp>

#include "kill/stage.hpp"

using rig::Actor;
using rig::Desk;
using rig::hooks;
using rig::Model;
using rig::Resource;
using rig::Stage;
using rig::sweep_all;
using namespace std::chrono_literals;

namespace {

/// A process that holds something of every kind, in threads of its own, until it is killed.
class Holder {
public:
    explicit Holder(const std::string& name)
        : process_{[this, &name] {
              Actor actor{rig::Arena<Desk>::open(name), flag_};
              hold(actor);
              for (;;) ::pause();
              return 0;
          }} {
        flag_.wait(4);
        const auto desk = rig::Arena<Desk>::open(name);
        // The gatherer waits, too.
        auto& gatherer = support::body_of(desk->pool).bulk;
        support::wait_until([&] { return gatherer.load(std::memory_order_acquire) != 0; });
    }
    void die() { REQUIRE(process_.kill() == support::killed_by(SIGKILL)); }

private:
    void hold(Actor& actor) {
        Desk& desk = *actor.desk;
        for (int i = 0; i < 2; ++i) actor.leases.push_back(desk.pool.acquire());
        ++actor.leases.back()->uses;  // in pieces
        actor.leases.push_back(desk.reset.acquire());
        ++actor.leases.back()->uses;
        auto served = desk.served.acquire_n(2);
        if (served[0]->id != 11) std::swap(served[0], served[1]);
        actor.leases.push_back(std::move(served[0]));
        served[1].give_back();
        actor.many.push_back(desk.many.acquire());
        if (!desk.lock.try_lock()) std::abort();
        const auto stay = [&](int step) {
            flag_.raise(step);
            for (;;) ::pause();
        };
        const auto in_thread = [&](int step, auto&& body) {
            actor.threads.emplace_back([body, stay, step] { body([=] { stay(step); }); });
            flag_.wait(step);
        };
        in_thread(1, [&](auto&& stop) {
            (void)desk.pool.acquire_or_create([&](Resource& resource) {
                resource.id = 9;
                stop();
            });
        });
        in_thread(2, [&](auto&& stop) {
            desk.wide.update([&](const rig::Wide& wide) {
                stop();
                return wide;
            });
        });
        in_thread(3, [&](auto&& stop) {
            auto lease = desk.served.acquire();
            actor.desk.hooks(&Desk::served, {.destroy = [stop](Resource&) { stop(); }});
            lease.discard();
        });
        actor.threads.emplace_back([&] {
            flag_.raise(4);
            (void)desk.pool.acquire_n(2);
        });
    }

    support::Flag flag_;
    support::Child process_;
};

void hold(Stage& stage) { stage.other = std::make_shared<Holder>(stage.name()); }
void die(Stage& stage) {
    std::static_pointer_cast<Holder>(stage.other)->die();
    stage.dead_earlier.emplace(stage.desk, true);
}
/// The resource that was being destroyed is gone.
void one_less(Model& model) { model.served.erase(12); }

}  // namespace

TEST_CASE("kill: at the instructions of a repair", "[kill][process]") {
    const auto reap = [](Actor& a) { (void)a.desk.reap(); };
    sweep_all({
        {.name = "reap, nobody is dead", .run = reap},
        {.name = "reap of a process that held something of every kind",
         .run = reap,
         .set = hold,
         .ready = die,
         .effect = one_less},
        {.name = "reap by a process that has no hooks",
         .prepare =
             [](Actor& a) {
                 a.desk.hooks(&Desk::served, {});
                 a.desk.hooks(&Desk::reset, {});
             },
         .run = reap,
         .set = hold,
         .ready = die,
         .effect = one_less},
    });
}

TEST_CASE("kill: at the instructions of a thread's life and end", "[kill][process]") {
    sweep_all({
        {.name = "a thread takes a lease and the lock, and ends",
         .run =
             [](Actor& a) {
                 a.leases.push_back(a.desk->pool.acquire());
                 if (!a.desk->lock.try_lock()) std::abort();
             },
         .traced = rig::Traced::second},
        {.name = "a thread counts and ends",
         .run = [](Actor& a) { a.desk->events.add(3); },
         .effect = [](Model& m) { m.events += 3; },
         .traced = rig::Traced::second},
    });
}

TEST_CASE("kill: at the instructions of leaving beside others", "[kill][process]") {
    sweep_all({
        {.name = "close of the last handle, others stay",
         .prepare =
             [](Actor& a) {
                 rig::warm(a);
                 *a.inherited = {};
             },
         .run = [](Actor& a) { a.desk.close(); }},
        {.name = "the last handle goes with a lease out",
         .prepare =
             [](Actor& a) {
                 a.leases.push_back(a.desk->pool.acquire());
                 *a.inherited = {};
             },
         .run = [](Actor& a) { a.desk = {}; }},
    });
}
