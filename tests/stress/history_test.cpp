// history_test.cpp: what processes recorded while they worked and were killed, held against what a
// pool, counters and values promise.
#include "support/history.hpp"

#include <array>
#include <catch2/catch.hpp>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "load.hpp"
#include "support/specifications.hpp"

using load::Random;
using support::Child;
using support::Fills;
using support::LeaseTime;
using support::never;
using support::RegisterSpec;
using support::Verdict;

namespace {

struct Shop {
    explicit Shop(lagoon::Count capacity = 1, lagoon::WaitOrder order = lagoon::WaitOrder::any)
        : items{"items", {.capacity = capacity, .quarantine_after = 0, .wait_order = order}} {}
    lagoon::Pool<std::uint64_t> items;
    lagoon::Counter tickets{"tickets"};
    lagoon::ShardedCounter shards{"shards"};
    lagoon::Value<std::int64_t> number{"number"};
    lagoon::Counter laps{"laps"};
};
using Arena = lagoon::Arena<Shop>;

Arena make_shop(std::uint64_t capacity = 1, lagoon::WaitOrder order = lagoon::WaitOrder::any) {
    (void)load::seed();
    return Arena::create(support::unique_name("history"), {}, lagoon::Count{capacity}, order);
}

constexpr std::size_t participants = 40;

/// Runs three workers at a time until all participants have been, each killed after some laps;
/// `killed(participant)` is called just before.
template <class Work, class Killed>
void run_and_kill(const Arena& shop, Work&& work, Killed&& killed) {
    Random random{99};
    std::size_t next = 0;
    struct Worker {
        std::unique_ptr<Child> process;
        std::size_t participant = 0;
    };
    std::array<Worker, 3> workers;
    const auto end = [&](Worker& worker) {
        if (worker.process == nullptr) return;
        killed(worker.participant);
        // One that has filled its page is over by itself.
        (void)worker.process->kill();
        worker.process.reset();
        if (random.below(2) == 0) (void)shop.reap();
    };
    while (next < participants) {
        Worker& worker = workers[random.below(workers.size())];
        end(worker);
        worker.participant = next++;
        worker.process = std::make_unique<Child>([&] {
            work(worker.participant);
            return 0;
        });
        const std::int64_t goal = shop->laps.load() + static_cast<std::int64_t>(random.below(400));
        const auto moment = std::chrono::steady_clock::now() + std::chrono::milliseconds{50};
        support::wait_until(
            [&] { return shop->laps.load() >= goal || std::chrono::steady_clock::now() > moment; });
    }
    for (auto& worker : workers) end(worker);
    (void)shop.reap();
}

}  // namespace

TEST_CASE("history: leases of one slot that overlap, or that no filling began, are found") {
    const Fills fills{{{0, 1}, 1}, {{0, 2}, 30}, {{1, 1}, 1}};
    const LeaseTime first{.slot = 0, .fill = 1, .taken = 5, .given = 10};
    const LeaseTime dead{.slot = 0, .fill = 1, .taken = 5, .died = 12};
    const LeaseTime unseen{};
    CHECK(support::flaw_of({first, {.slot = 0, .fill = 1, .taken = 11, .given = 12}, unseen}, fills)
              .empty());
    CHECK(support::flaw_of({first, {.slot = 1, .fill = 1, .taken = 6, .given = 7}}, fills).empty());
    CHECK(
        support::flaw_of({dead, {.slot = 0, .fill = 1, .taken = 13, .given = 14}}, fills).empty());
    CHECK(support::flaw_of({first, {.slot = 0, .fill = 1, .taken = 9, .given = 12}}, fills) ==
          "slot 0 at 9: lent twice");
    CHECK(support::flaw_of({dead, {.slot = 0, .fill = 1, .taken = 11, .given = 14}}, fills) ==
          "slot 0 at 11: lent while its holder lived");
    CHECK(support::flaw_of({{.slot = 0, .fill = 3, .taken = 40, .given = 41}}, fills) ==
          "slot 0 at 40: lent without a filling");
    CHECK(support::flaw_of({{.slot = 0, .fill = 2, .taken = 20, .given = 41}}, fills) ==
          "slot 0 at 20: lent before its filling");
    CHECK(support::flaw_of({{.slot = 0, .fill = 2, .taken = 31, .given = 32},
                            {.slot = 0, .fill = 1, .taken = 33, .given = 34}},
                           fills) == "slot 0 at 33: a filling from before the last one");
}

TEST_CASE("history: no slot is lent to two at a time, and each lease follows a filling") {
    const auto order = GENERATE(from_range(load::both_orders));
    for (const std::uint64_t capacity : std::initializer_list<std::uint64_t>{1, 3, 70}) {
        CAPTURE(capacity, order);
        auto shop = make_shop(capacity, order);
        const auto leases = std::make_unique<support::History<LeaseTime, participants, 2000>>();
        const auto filled = std::make_unique<
            support::History<std::pair<std::uint64_t, std::uint64_t>, participants, 2000>>();
        std::array<std::uint64_t, participants> died{};
        run_and_kill(
            shop,
            [&](std::size_t me) {
                Random random{me + capacity * 1000};
                while (leases->begin(me, {})) {
                    const auto fill = [&](std::uint64_t& item, lagoon::Slot slot) {
                        item = leases->now();
                        (void)filled->begin(me, {slot.index(), slot.fill()}, item);
                    };
                    auto lease = shop->items.acquire_or_create(fill);
                    if (!lease) return;
                    LeaseTime time{.slot = lease.index(), .fill = lease.fill()};
                    time.taken = leases->now();
                    leases->end(me, time);
                    if (random.below(4) == 0) std::this_thread::yield();
                    time.given = leases->now();
                    leases->note(me, time);
                    if (random.below(8) == 0) {
                        lease.discard();
                    } else {
                        lease.give_back();
                    }
                    shop->laps.add(1);
                }
            },
            [&](std::size_t participant) { died[participant] = leases->now(); });
        std::vector<LeaseTime> all;
        for (std::size_t p = 0; p < participants; ++p) {
            for (const auto& call : leases->of(p)) {
                if (call.end == never) continue;  // killed before it had one, or said so
                all.push_back(call.operation);
                all.back().died = died[p];
            }
        }
        Fills fills;
        for (const auto& call : filled->all()) fills[call.operation] = call.begin;
        CHECK(support::flaw_of(all, fills) == "");
        CHECK(all.size() > participants);
        CHECK(fills.size() > 1);
        const auto stats = shop->items.stats();
        CHECK(stats.leased + stats.creating + stats.maintained == 0);
    }
}

TEST_CASE("history: every count is counted once, in the order of each process") {
    auto shop = make_shop();
    struct Ticket {
        std::int64_t drawn = -1;
        std::int64_t number = -1;
    };
    const auto drawn = std::make_unique<support::History<Ticket, participants, 4000>>();
    run_and_kill(
        shop,
        [&](std::size_t me) {
            while (drawn->begin(me, {})) {
                Ticket ticket{.drawn = shop->tickets.add(1)};
                ticket.number = shop->number.fetch_add(1);
                shop->shards.add(1);
                drawn->end(me, ticket);
                shop->laps.add(1);
            }
        },
        [](std::size_t) {});
    std::set<std::int64_t> tickets;
    std::set<std::int64_t> numbers;
    std::int64_t answered = 0;
    std::int64_t unanswered = 0;
    for (std::size_t p = 0; p < participants; ++p) {
        Ticket before;
        for (const auto& call : drawn->of(p)) {
            if (call.end == never) {
                ++unanswered;
                continue;
            }
            ++answered;
            const Ticket& ticket = call.operation;
            CHECK(ticket.drawn > before.drawn);
            CHECK(ticket.number > before.number);
            CHECK(tickets.insert(ticket.drawn).second);
            CHECK(numbers.insert(ticket.number).second);
            before = ticket;
        }
    }
    REQUIRE(answered > 0);
    for (const std::int64_t total :
         {shop->tickets.load(), shop->number.load(), shop->shards.load()}) {
        CHECK(total >= answered);
        CHECK(total <= answered + unanswered);
    }
}

TEST_CASE("history: reads, writes and exchanges of one value have an order") {
    auto shop = make_shop();
    constexpr std::size_t crew = 4;
    const int rounds = load::iterations(60);
    std::uint64_t decided = 0;
    for (int round = 0; round < rounds; ++round) {
        const auto calls = std::make_unique<support::History<RegisterSpec::Operation, crew, 8>>();
        shop->number.store(0);
        const support::Flag go;
        const bool killed = round % 2 == 1;
        std::vector<std::unique_ptr<Child>> workers;
        for (std::size_t p = 0; p < crew; ++p) {
            workers.push_back(std::make_unique<Child>([&, p] {
                Random random{p + static_cast<std::uint64_t>(round) * 10};
                while (go.step() == 0) {
                }
                for (int i = 0; i < 8; ++i) {
                    RegisterSpec::Operation asked;
                    asked.kind = static_cast<RegisterSpec::Kind>(random.below(3));
                    asked.expected = static_cast<std::int64_t>(random.below(3));
                    asked.desired = static_cast<std::int64_t>(random.below(3));
                    if (!calls->begin(p, asked)) return 1;
                    switch (asked.kind) {
                        case RegisterSpec::Kind::read: asked.found = shop->number.load(); break;
                        case RegisterSpec::Kind::write: shop->number.store(asked.desired); break;
                        case RegisterSpec::Kind::compare_exchange:
                            asked.found = asked.expected;
                            asked.done = shop->number.compare_exchange(asked.found, asked.desired);
                            break;
                    }
                    calls->end(p, asked);
                }
                return 0;
            }));
        }
        go.raise();
        for (auto& worker : workers) {
            if (killed) {
                (void)worker->kill();
            } else {
                CHECK(worker->wait() == support::exited(0));
            }
        }
        const auto all = calls->all();
        const Verdict verdict = support::check_linearizable<RegisterSpec>(all, 0);
        CHECK(verdict != Verdict::impossible);
        if (verdict == Verdict::linearizable && !all.empty()) ++decided;
    }
    REQUIRE(decided > static_cast<std::uint64_t>(rounds) / 4);
}
