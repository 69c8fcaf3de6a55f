// holder.hpp: a process that holds something of every kind, and dies with it.
#pragma once

#include "kill/stage.hpp"

namespace rig {

/// A process that holds something of every kind, in threads of its own, until it is killed.
class Holder {
public:
    explicit Holder(const std::string& name)
        : process_{[this, &name] {
              Actor actor{Arena<Desk>::open(name), flag_};
              hold(actor);
              for (;;) ::pause();
              return 0;
          }} {
        flag_.wait(4);
        const auto desk = Arena<Desk>::open(name);
        // The gatherer waits, too.
        auto& gatherer = support::body_of(desk->pool).bulk;
        support::wait_until([&] { return gatherer.load(std::memory_order_acquire) != 0; });
    }
    [[nodiscard]] std::uint32_t pid() const { return static_cast<std::uint32_t>(process_.pid()); }
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
        for (auto* pool : {&desk.ended, &desk.apart, &desk.twice}) {
            actor.leases.push_back(pool->acquire());
        }
        actor.many.push_back(desk.many.acquire());
        if (!desk.lock.try_lock() || !desk.strict.try_lock()) std::abort();
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
            desk.wide.update([&](const Wide& wide) {
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

inline void hold_everything(Stage& stage) { stage.other = std::make_shared<Holder>(stage.name()); }
inline void holder_is_dead(Stage& stage) { std::static_pointer_cast<Holder>(stage.other)->die(); }
inline void holder_dies(Stage& stage) {
    holder_is_dead(stage);
    stage.dead_earlier.emplace(stage.desk, true);
}
/// Somebody kills it; or the one who is about to is killed before that, and it dies all the same.
inline void hold_until_killed(Stage& stage) {
    hold_everything(stage);
    stage.dead_earlier.emplace(stage.desk, true, Dead::Of::all_others);
}
/// Somebody may borrow what has been repaired.
inline void holder_dies_beside_others(Stage& stage) {
    holder_dies(stage);
    stage.dead_earlier.emplace(stage.desk, false);
}
/// The resource that was being destroyed is gone.
inline void one_less(Model& model) { model.served.erase(12); }

}  // namespace rig
