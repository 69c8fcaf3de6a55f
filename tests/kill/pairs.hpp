// pairs.hpp: two processes, one halted at a point where something has changed, the other one killed
// at such a point of its own. Then the first one goes on to its end, or is killed as well.
#pragma once

#include "kill/stage.hpp"

namespace rig {

/// The scene of a pair of processes, and what must hold when both are dead.
struct PairScene {
    std::string name;
    std::function<void()> set;
    std::function<std::unique_ptr<Stepper>()> first;
    std::function<std::unique_ptr<Stepper>()> second;
    std::function<void()> ready = [] {};
    std::function<std::pair<const std::byte*, std::size_t>()> bytes;
    std::function<void(Stepper& first)> let_end;
    std::function<void()> look;
    std::uint64_t most_points = 12;  // of each of the two
    /// The second one's way is stepped anew at some points of the first one only. In between
    /// its points are those of the way before, as far as it comes past them.
    std::uint64_t record_every = 1;
};

/// At most so many of the points, spread over all of them; `turn` chooses others each time.
inline std::vector<std::uint64_t> some_of(const std::vector<std::uint64_t>& points,
                                          std::uint64_t most, std::uint64_t turn = 0) {
    if (in_full() || points.size() <= most) return points;
    std::vector<std::uint64_t> some;
    const std::uint64_t stride = (points.size() + most - 1) / most;
    for (std::uint64_t i = turn % stride; i < points.size(); i += stride) some.push_back(points[i]);
    return some;
}

class PairSweep {
public:
    explicit PairSweep(const PairScene& scene) : scene_{scene} {
        watched_.name = scene.name;
        watched_.bytes = scene.bytes;
    }

    void run() {
        start();  // once, for what is made once
        both_end();
        start();
        first_ = record(*a_, watched_, true, false);
        both_end();
        std::uint64_t firsts = 0;
        for (const std::uint64_t point : some_of(first_.changed, scene_.most_points)) {
            at_first(point, firsts++);
        }
        std::printf("kill points: pairs %5llu, at %3llu of %3zu points of the first  %s\n",
                    static_cast<unsigned long long>(pairs_),
                    static_cast<unsigned long long>(firsts), first_.changed.size(),
                    scene_.name.c_str());
        std::fflush(stdout);
        REQUIRE(pairs_ > 0);
    }

private:
    void start() {
        scene_.set();
        a_ = scene_.first();
        b_ = scene_.second();
        scene_.ready();
    }
    void both_end() {
        (void)a_->kill();
        (void)b_->kill();
        scene_.look();
    }
    /// Where the second one comes past while the first one is halted.
    void at_first(std::uint64_t point, std::uint64_t turn) {
        if (in_full() || turn % scene_.record_every == 0) {
            start();
            (void)bring_to(*a_, first_, point, nullptr);
            second_ = record(*b_, watched_, true, false);
            both_end();
        }
        for (const std::uint64_t other : some_of(second_.changed, scene_.most_points, turn)) {
            for (const bool both : {false, true}) {
                start();
                (void)bring_to(*a_, first_, point, nullptr);
                bring_second_to(other);
                INFO(scene_.name << ": the first one halted at " << point << " before "
                                 << name_of(a_->next_instruction()) << ", the second one killed at "
                                 << other << (b_->asleep() ? " asleep" : " before ")
                                 << name_of(b_->next_instruction())
                                 << (both ? ", then the first one" : ""));
                (void)b_->kill();
                if (!both) scene_.let_end(*a_);
                (void)a_->kill();
                scene_.look();
                ++pairs_;
            }
        }
    }

    /// What it comes to wait for may be the first one's, which is halted: then it is killed as it
    /// waits.
    void bring_second_to(std::uint64_t point) {
        constexpr int looks = 20;  // two milliseconds apart
        int asleep = 0;
        bool enough = false;
        (void)bring_to(
            *b_, second_, point, [&] { enough = ++asleep >= looks; }, &enough);
    }

    const PairScene& scene_;
    Scene watched_;
    Recording first_;
    Recording second_;
    std::unique_ptr<Stepper> a_;
    std::unique_ptr<Stepper> b_;
    std::uint64_t pairs_ = 0;
};

/// Two operations on one desk; the first one's `set`, `ready` and `given` are of both.
inline void sweep_pair(const char* name, const Operation& first, const Operation& second) {
    Stage stage{first};
    PairScene scene;
    scene.name = name;
    scene.set = [&] { stage.set_scene(); };
    scene.first = [&] { return stage.process_of(first, false); };
    scene.second = [&] { return stage.process_of(second, false); };
    scene.ready = [&] { stage.get_ready(); };
    scene.bytes = stage.scene().bytes;
    scene.let_end = [&](Stepper& process) { stage.let_end(process); };
    scene.look = [&] {
        Model after = stage.before();
        if (first.effect) first.effect(after);
        stage.look(after, false, false);
    };
    PairSweep{scene}.run();
}

}  // namespace rig
