// storm_test.cpp: a population of processes on one arena, and a killer who kills, stops and
// continues them at random.
//
// LAGOON_STRESS_SEED repeats the killer's choices, though not the moments they fall on.
// LAGOON_STORM_SECONDS asks for a storm that long; otherwise it is over after some thousand kills.
#include <array>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "load.hpp"
#include "runtime/attachment.hpp"

using load::Item;
using load::Random;
using support::Child;
using namespace std::chrono_literals;

namespace {

using Wide = std::array<std::uint64_t, 6>;

/// What is under attack beside the pool.
struct Harbour {
    explicit Harbour(lagoon::Count capacity = 1, lagoon::WaitOrder order = lagoon::WaitOrder::any)
        : items{"items", {.capacity = capacity, .quarantine_after = 0, .wait_order = order}} {}
    lagoon::Pool<Item> items;
    lagoon::Counter wrong{"wrong"};
    lagoon::Counter laps{"laps"};
    lagoon::Lock lock{"lock"};
    lagoon::Array<std::uint64_t> pair{"pair", 2};  // equal whenever the lock is free and clean
    lagoon::Value<Wide> wide{"wide"};              // six times the same number
    lagoon::Counter before{"before"};              // counted before `after` is
    lagoon::ShardedCounter after{"after"};
};
using Arena = lagoon::Arena<Harbour>;

bool is_whole(const Wide& wide) {
    return wide == Wide{wide[0], wide[0], wide[0], wide[0], wide[0], wide[0]};
}

/// The pair under the lock: found equal unless an owner died, and put right then.
void change_pair(Harbour& harbour) {
    const lagoon::Locked locked = harbour.lock.try_lock_for(2ms);
    if (!locked) return;
    const auto both = harbour.pair.span();
    if (locked.owner_died()) {
        both[1] = both[0];
        harbour.lock.mark_clean();
    }
    if (both[0] != both[1]) harbour.wrong.add(1);
    ++both[0];
    both[1] = both[0];
    harbour.lock.unlock();
}

void change_wide(Harbour& harbour) {
    const Wide seen = harbour.wide.update([&](const Wide& wide) {
        if (!is_whole(wide)) harbour.wrong.add(1);
        Wide next = wide;
        for (auto& word : next) ++word;
        return next;
    });
    if (!is_whole(seen)) harbour.wrong.add(1);
}

[[noreturn]] void sail(Harbour& harbour, std::uint64_t me) {
    Random random{me};
    for (;;) {
        const std::uint64_t what = random.below(10);
        if (what == 0) {
            change_pair(harbour);
        } else if (what == 1) {
            change_wide(harbour);
        } else if (what == 2) {
            if (!is_whole(harbour.wide.load())) harbour.wrong.add(1);
        } else {
            load::step(harbour, random, me);
        }
        harbour.before.add(1);
        harbour.after.add(1);
        harbour.laps.add(1);
    }
}

/// Every word that names an owner names a living one: looked at after a reap, so that only who was
/// killed since can be found dead.
void check_owners(const Arena& harbour) {
    auto& pool = harbour->items;
    for (std::uint64_t index = 0; index < pool.capacity(); ++index) {
        const std::uint64_t word = support::truth_of(pool, index);
        if (!lagoon::detail::word::names_owner(word)) continue;
        const bool lives =
            lagoon::detail::lane_lives(harbour.attached(), lagoon::detail::word::owner(word));
        CHECK((lives || support::truth_of(pool, index) != word));
    }
}

class Storm {
public:
    Storm(Arena& harbour, std::size_t ships) : harbour_{harbour}, ships_(ships) {
        for (auto& ship : ships_) launch(ship);
    }

    /// One choice of the killer's, and then until somebody has come further.
    void strike() {
        Ship& ship = ships_[random_.below(ships_.size())];
        const std::uint64_t what = random_.below(10);
        if (what < 8) {
            // Also of one who is stopped.
            CHECK(ship.process->kill() == support::killed_by(SIGKILL));
            ++kills;
            if (random_.below(2) == 0) {
                (void)harbour_.reap();
                check_owners(harbour_);
            }
            launch(ship);
        } else if (!ship.stopped && stopped() + 2 < ships_.size()) {
            ::kill(ship.process->pid(), SIGSTOP);
            ship.stopped = true;
            ++stops;
        } else {
            go_on(ship);
        }
        await_progress(static_cast<std::int64_t>(1 + random_.below(20)));
    }

    /// All are killed, and what they leave is repaired and whole.
    void calm() {
        for (auto& ship : ships_) {
            CHECK(ship.process->kill() == support::killed_by(SIGKILL));
            ++kills;
            ship.process.reset();
        }
        for (int i = 0; i < 3; ++i) (void)harbour_.reap();
        load::check_conservation(harbour_);
        CHECK(harbour_->items.stats().waiting == 0);
        CHECK(is_whole(harbour_->wide.load()));
        CHECK_FALSE(harbour_->lock.is_locked());
        const bool died = harbour_->lock.owner_died();
        CHECK((died || harbour_->pair[0].load() == harbour_->pair[1].load()));
        change_pair(*harbour_);
        // Between the two counts each of the dead can have been once.
        const std::int64_t between = harbour_->before.load() - harbour_->after.load();
        CHECK(between >= 0);
        CHECK(between <= static_cast<std::int64_t>(kills));
    }
    void raise() {
        for (auto& ship : ships_) launch(ship);
    }

    std::uint64_t kills = 0;
    std::uint64_t stops = 0;

private:
    struct Ship {
        std::unique_ptr<Child> process;
        bool stopped = false;
    };

    void launch(Ship& ship) {
        const std::uint64_t me = ++launched_;
        ship.stopped = false;
        ship.process = std::make_unique<Child>([&]() -> int { sail(*harbour_, me); });
    }
    static void go_on(Ship& ship) {
        if (!ship.stopped) return;
        ::kill(ship.process->pid(), SIGCONT);
        ship.stopped = false;
    }
    [[nodiscard]] std::size_t stopped() const {
        std::size_t count = 0;
        for (const auto& ship : ships_) count += ship.stopped ? 1 : 0;
        return count;
    }
    /// Somebody comes further. Who waits for what a stopped process holds does not, so those go on
    /// after a moment; then nothing may hold up the rest.
    void await_progress(std::int64_t laps) {
        const std::int64_t goal = harbour_->laps.load() + laps;
        const auto moment = std::chrono::steady_clock::now() + 50ms;
        support::wait_until([&] {
            if (harbour_->laps.load() >= goal) return true;
            if (std::chrono::steady_clock::now() > moment) {
                for (auto& ship : ships_) go_on(ship);
            }
            return false;
        });
    }

    Arena& harbour_;
    std::vector<Ship> ships_;
    Random random_{4711};
    std::uint64_t launched_ = 0;
};

}  // namespace

TEST_CASE("stress: a storm of kills, stops and continuations loses nothing") {
    const char* asked = std::getenv("LAGOON_STORM_SECONDS");
    const auto began = std::chrono::steady_clock::now();
    const std::chrono::seconds length{asked != nullptr ? std::atoi(asked) : 0};
    const auto enough = static_cast<std::uint64_t>(load::iterations(4000));
    (void)load::seed();
    std::uint64_t kills = 0;
    std::uint64_t stops = 0;
    auto order = load::both_orders[0];
    while (kills < enough || std::chrono::steady_clock::now() - began < length) {
        for (const std::uint64_t capacity : std::initializer_list<std::uint64_t>{1, 4, 130}) {
            auto harbour =
                Arena::create(support::unique_name("storm"), {}, lagoon::Count{capacity}, order);
            Storm storm{harbour, 4};
            for (int i = 0; i < 3; ++i) {
                for (int strikes = 0; strikes < 100; ++strikes) storm.strike();
                storm.calm();
                if (i < 2) storm.raise();
            }
            REQUIRE(harbour->wrong.load() == 0);
            kills += storm.kills;
            stops += storm.stops;
            order = load::both_orders[order == load::both_orders[0] ? 1 : 0];
        }
    }
    const std::chrono::duration<double> lasted = std::chrono::steady_clock::now() - began;
    std::printf("kills survived: %llu, stops: %llu, seed: %llu, %.0f kills a second\n",
                static_cast<unsigned long long>(kills), static_cast<unsigned long long>(stops),
                static_cast<unsigned long long>(load::seed()),
                static_cast<double>(kills) / lasted.count());
    REQUIRE(kills > 0);
    REQUIRE(stops > 0);
}
