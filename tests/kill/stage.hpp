// stage.hpp: operations on a desk as a table of cases, and the sweep of one of them.
//
//   {.name = "give_back while somebody waits",
//    .prepare = [](Actor& a) { a.leases.push_back(a.desk->pool.acquire()); },   // in the process
//    .run = [](Actor& a) { a.leases.back().give_back(); },                      // that is killed
//    .waiter = [](Actor& a) { return a.desk->pool.acquire() ? 0 : 1; }}         // in another one
//
// After every kill the oracle (oracle.hpp) looks at all of the desk; `effect` says what the
// operation does to it, so that everything is as before, as after, or one of the two.
#pragma once

#include <sys/syscall.h>

#include "kill/oracle.hpp"
#include "kill/points.hpp"
#include "kill/sleep.hpp"

namespace rig {

class Stage;

/// Gives the process a lane, and lets it remember the slot that it used last.
inline void warm(Actor& actor) { (void)actor.desk->pool.try_acquire(); }
/// No lane, and no memory of the pool.
inline void cold(Actor&) {}

/// The process uses its shared lane: others of its threads have all there are.
inline void share_a_lane(Actor& actor) {
    const support::Flag all;
    for (int i = 1; i <= 8; ++i) {
        actor.threads.emplace_back([&, i] {
            (void)actor.desk->pool.try_acquire();
            all.raise(i);
            for (;;) ::pause();
        });
        all.wait(i);
    }
    (void)actor.desk->pool.try_acquire();
    if (!lagoon::detail::lane_of(&actor.desk->pool).shared) std::abort();
}
/// A thread of the process asks for a stop once the test raises the flag.
inline void stop_by_flag(Actor& actor) {
    warm(actor);
    actor.threads.emplace_back([&actor] {
        actor.flag.wait();
        actor.stop.request_stop();
        for (;;) ::pause();
    });
}
void lower_flag(Stage& stage);
void raise_flag(Stage& stage);

struct Operation {
    const char* name = "";
    /// In the process, before its first step. Without it the process has a lane and knows the pool.
    std::function<void(Actor&)> prepare = warm;
    std::function<void(Actor&)> run = nullptr;
    /// In the test: before the process is started; once it is prepared; while it sleeps.
    std::function<void(Stage&)> set = nullptr;
    std::function<void(Stage&)> ready = nullptr;
    std::function<void(Stage&)> blocked = nullptr;
    /// What `set` and `ready` change, and what the operation does when nobody kills it.
    std::function<void(Model&)> given = nullptr;
    std::function<void(Model&)> effect = nullptr;
    /// In another process, asleep in the kernel when the operation begins. Ends with 0 by itself,
    /// whether the operation is killed or not; but `help` is called first when it was killed.
    std::function<int(Actor&)> waiter = nullptr;
    std::function<void(Stage&)> help = nullptr;
    /// Further demands, after the general ones.
    std::function<void(Stage&, bool over)> check = nullptr;
    Traced traced = Traced::main;
    lagoon::Ownership ownership = lagoon::Ownership::automatic;
    lagoon::WaitOrder wait_order = lagoon::WaitOrder::any;
    bool fresh = false;       ///< a new arena for every run, with slots that were never filled
    bool unattached = false;  ///< the process is a forked child that has not used the arena
};

/// A process asleep in something that the operation ends: for good, unless somebody or the kernel
/// wakes it.
class Waiter {
public:
    Waiter(const std::string& name, const support::Flag& flag,
           const std::function<int(Actor&)>& body)
        : process_{[&] {
              Actor actor{Arena<Desk>::open(name), flag};
              warm(actor);
              sleeps_have_no_cap = true;
              begun_.raise();
              return body(actor);
          }} {
        begun_.wait();
        support::wait_until([&] { return asleep(); });
    }
    [[nodiscard]] bool asleep() const {
        char text[64] = {};
        const std::string path = "/proc/" + std::to_string(process_.pid()) + "/syscall";
        const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
        const ssize_t got = ::read(fd, text, sizeof text - 1);
        ::close(fd);
        const long call = got > 0 ? std::atol(text) : -1;
        return text[0] != 'r' && (call == SYS_futex || call == SYS_futex_waitv);
    }
    [[nodiscard]] bool over() const {
        siginfo_t info{};
        return ::waitid(P_PID, static_cast<id_t>(process_.pid()), &info,
                        WEXITED | WNOHANG | WNOWAIT) == 0 &&
               info.si_pid == process_.pid();
    }
    support::Ended end() { return process_.wait(); }

private:
    support::Flag begun_;
    support::Child process_;
};

class Stage {
public:
    explicit Stage(const Operation& operation)
        : operation_{operation},
          name_{support::unique_name("desk")},
          desk{make_desk(name_, operation.ownership, operation.wait_order)} {
        begin();
    }

private:
    Operation operation_;
    std::string name_;

public:
    Arena<Desk> desk;
    std::vector<Lease<Resource>> held;  // the test's own leases
    std::vector<Lease<std::uint64_t>> held_many;
    std::function<void()> later;       // ends what the test keeps the operation waiting with
    std::optional<Dead> dead_earlier;  // whom the operation repairs
    support::Flag flag;                // to the process
    std::shared_ptr<void> other;       // a further process

    [[nodiscard]] const std::string& name() const { return name_; }

    /// Every idle resource of `pool` becomes the test's.
    void take_all() {
        while (auto lease = desk->pool.try_acquire()) held.push_back(std::move(lease));
    }
    /// The operation waits for something of the test's: it comes.
    void let_go() {
        if (later) std::exchange(later, nullptr)();
    }
    void give_one_back() {
        if (!held.empty()) held.pop_back();
    }
    void take_all_many() {
        while (auto lease = desk->many.try_acquire()) held_many.push_back(std::move(lease));
    }

    Report sweep(std::uint64_t most_others) {
        const Report report = rig::sweep(scene(), most_others);
        if (operation_.waiter && only_point(operation_.name) == -1) pause_everywhere();
        return report;
    }

    // The parts of a run, for sweeps of more than one process.

    void set_scene() {
        if (operation_.fresh) {
            desk = {};
            desk = make_desk(name_, operation_.ownership, operation_.wait_order);
            generations_.forget();
            begin();
        }
        fill(desk);
        before_ = model_of(desk);
        if (operation_.given) operation_.given(before_);
        if (operation_.set) operation_.set(*this);
        look_at_generations();
    }
    [[nodiscard]] std::unique_ptr<Stepper> process_of(const Operation& operation, bool slowly) {
        auto process = std::make_unique<Stepper>(
            [this, &operation, slowly] {
                Actor actor{operation.unattached ? desk : Arena<Desk>::open(name_), flag};
                actor.inherited = &desk;
                actor.patience = std::chrono::milliseconds{slowly ? 700 : 10};
                // What it waits for comes from the test, and wakes it.
                sleeps_have_no_cap = operation.blocked != nullptr;
                operation.prepare(actor);
                return actor;
            },
            [&operation](Actor& actor) { operation.run(actor); }, Grain::instruction,
            operation.traced);
        REQUIRE(process->state() == Stop::halted);
        return process;
    }
    void get_ready() {
        if (operation_.ready) operation_.ready(*this);
    }
    /// The process goes on to the operation's end; what it waits for comes from the test or from
    /// what is there.
    void let_end(Stepper& process) {
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds{30};
        const Stop stop = process.run_on([&] {
            if (operation_.blocked) operation_.blocked(*this);
            INFO("it waits for what does not come");
            REQUIRE(std::chrono::steady_clock::now() < end);
        });
        REQUIRE(stop == Stop::done);
    }
    /// Everybody but the test is dead: looks at what they have left.
    void look(const Model& after, bool over, bool undisturbed) {
        const Dead dead{desk, undisturbed};
        look_at_generations();
        dead.require_lent(held);
        let_go();
        held.clear();
        held_many.clear();
        reap_all(desk);
        dead.require_settled();
        std::set<std::uint64_t> lost;
        dead.add_lost(lost);
        if (dead_earlier) {
            dead_earlier->require_settled(&dead);
            dead_earlier->add_lost(lost);
        }
        dead_earlier.reset();
        other.reset();
        look_at_generations();
        require_at_rest(desk);
        require_between(desk, before_, after, over, lost);
        if (operation_.check) operation_.check(*this, over);
        require_usable(desk, generations_);
        look_at_generations();
    }
    [[nodiscard]] const Model& before() const { return before_; }

    [[nodiscard]] Scene scene() {
        Scene scene;
        scene.name = operation_.name;
        scene.start = [this](bool slowly) { return start(slowly); };
        scene.bytes = [this] {
            return std::pair{desk.attached().at(0),
                             static_cast<std::size_t>(desk.attached().header->arena_bytes)};
        };
        if (operation_.blocked) scene.blocked = [this] { operation_.blocked(*this); };
        scene.check = [this](Stepper& process, bool over) { check(process, over); };
        return scene;
    }

private:
    void look_at_generations() {
        each_pool(desk, [&](auto& pool) { generations_.look(pool); });
        generations_.look(desk->lock);
        generations_.look(desk->strict);
        generations_.look(desk->wide);
        generations_.look(desk->text);
    }
    void begin() {
        desk.hooks(&Desk::served, hooks());
        desk.hooks(&Desk::reset, hooks());
        desk.hooks(&Desk::ended, hooks());
        desk.hooks(&Desk::aged, hooks());
        if (operation_.fresh) return;
        // Every slot has been filled before: hints lead to the empty ones.
        while (desk->pool.add(Resource{})) {
        }
    }

    std::unique_ptr<Stepper> start(bool slowly) {
        set_scene();
        auto process = process_of(operation_, slowly);
        get_ready();
        if (operation_.waiter) waiter_ = std::make_unique<Waiter>(name_, flag, operation_.waiter);
        return process;
    }

    void check(Stepper& process, bool over) {
        Model after = before_;
        if (operation_.effect) operation_.effect(after);
        if (over) {
            let_end(process);
            served();
            REQUIRE(process.kill() == support::killed_by(SIGKILL));
        } else if (operation_.help) {
            operation_.help(*this);
        }
        const bool alone = waiter_ == nullptr;
        served();
        look(after, over, alone);
    }

    /// The one who waits has what it waited for.
    void served() {
        if (!waiter_) return;
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds{30};
        while (!waiter_->over() && std::chrono::steady_clock::now() < end) {
            std::this_thread::sleep_for(std::chrono::microseconds{100});
        }
        INFO("whoever waits is served");
        REQUIRE(waiter_->over());
        REQUIRE(waiter_->end() == support::exited(0));
        waiter_.reset();
    }

    /// Somebody waits, and the operation pauses for a while wherever something has changed, until
    /// the other one sleeps again or is served: what comes behind the pause must wake it.
    void pause_everywhere() {
        const Scene all = scene();
        Recording recording;
        {
            auto process = all.start(true);
            recording = record(*process, all);
            all.check(*process, true);
        }
        for (const std::uint64_t point : recording.changed) {
            auto process = all.start(false);
            INFO(operation_.name << ": a pause at " << point << " before "
                                 << name_of(recording.at[recording.first + point]));
            (void)bring_to(*process, recording, point, nullptr);
            std::this_thread::sleep_for(std::chrono::milliseconds{1});
            support::wait_until([&] { return waiter_->over() || waiter_->asleep(); });
            check(*process, true);
        }
        std::printf("pauses:      %3zu  %s\n", recording.changed.size(), operation_.name);
    }

    Model before_;
    Generations generations_;
    std::unique_ptr<Waiter> waiter_;
};

inline void lower_flag(Stage& stage) { stage.flag.raise(0); }
inline void raise_flag(Stage& stage) { stage.flag.raise(); }

/// `run` waits, and the pool is closed meanwhile.
inline Operation closed_meanwhile(const char* name, std::function<void(Actor&)> run) {
    return {.name = name,
            .run = std::move(run),
            .set = [](Stage& s) { s.take_all(); },
            .blocked = [](Stage& s) { s.desk->pool.close(); },
            .effect =
                [](Model& m) {
                    m.closed = true;
                    m.pool.clear();
                },
            .fresh = true};
}

/// One table of operations: each swept.
inline void sweep_all(const std::vector<Operation>& operations, std::uint64_t most_others = 60) {
    std::uint64_t points = 0;
    for (const Operation& operation : operations) {
        const Report report = Stage{operation}.sweep(most_others);
        points += report.changed + report.other;
    }
    std::printf("kill points: %llu in %zu operations\n", static_cast<unsigned long long>(points),
                operations.size());
    std::fflush(stdout);
    if (std::getenv("LAGOON_KILL_AT") == nullptr) REQUIRE(points >= operations.size());
}

}  // namespace rig
