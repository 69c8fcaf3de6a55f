// hints_test.cpp: the tree of bits against a set, and with several threads.
#include "runtime/hints.hpp"

#include <atomic>
#include <barrier>
#include <catch2/catch.hpp>
#include <cstdint>
#include <memory>
#include <set>
#include <thread>
#include <vector>

namespace {

using lagoon::detail::Atomic;
using lagoon::detail::HintTree;
using lagoon::detail::no_index;

/// A tree with memory of its own.
class Tree {
public:
    explicit Tree(std::uint64_t slots)
        : words_{std::make_unique<Atomic<std::uint64_t>[]>(HintTree::words_for(slots))},
          slots_{slots} {}
    [[nodiscard]] HintTree hints() const { return {words_.get(), slots_}; }

    /// All set bits, found as a search finds them.
    [[nodiscard]] std::set<std::uint64_t> found() const {
        std::set<std::uint64_t> all;
        HintTree tree = hints();
        for (auto leaf = tree.next_leaf(0); leaf != no_index; leaf = tree.next_leaf(leaf + 1)) {
            for (std::uint64_t bits = tree.leaf(leaf); bits != 0; bits &= bits - 1) {
                all.insert(leaf * 64 + static_cast<std::uint64_t>(std::countr_zero(bits)));
            }
        }
        return all;
    }

private:
    std::unique_ptr<Atomic<std::uint64_t>[]> words_;
    std::uint64_t slots_;
};

class Random {
public:
    explicit Random(std::uint64_t seed) : state_{seed} {}
    std::uint64_t below(std::uint64_t end) {
        state_ = state_ * 6364136223846793005 + 1442695040888963407;
        return (state_ >> 33) % end;
    }

private:
    std::uint64_t state_;
};

/// So that two threads begin at one moment, and get on where there is one processor only.
template <class Predicate>
void spin_until(Predicate&& holds) {
    for (int i = 0; !holds(); ++i) {
        if (i < 1000) {
            lagoon::detail::cpu_relax();
        } else {
            std::this_thread::yield();
        }
    }
}

}  // namespace

TEST_CASE("hints: a tree has a word for 64 of the level below, up to one") {
    CHECK(HintTree::words_for(1) == 1);
    CHECK(HintTree::words_for(64) == 1);
    CHECK(HintTree::words_for(65) == 3);
    CHECK(HintTree::words_for(4096) == 65);
    CHECK(HintTree::words_for(4097) == 65 + 2 + 1);
    CHECK(HintTree::words_for(std::uint64_t{1} << 24) == 262144 + 4096 + 64 + 1);
}

TEST_CASE("hints: it finds exactly what is set, in every size") {
    for (const std::uint64_t slots : std::initializer_list<std::uint64_t>{
             1, 2, 63, 64, 65, 4095, 4096, 4097, 70'000, 300'000}) {
        CAPTURE(slots);
        const Tree tree{slots};
        HintTree hints = tree.hints();
        CHECK(hints.next_leaf(0) == no_index);
        Random random{slots};
        std::set<std::uint64_t> reference;
        int differences = 0;
        for (int step = 0; step < 3000; ++step) {
            const std::uint64_t index = random.below(slots);
            if (random.below(2) == 0) {
                hints.set(index);
                reference.insert(index);
            } else {
                hints.clear(index / 64, std::uint64_t{1} << (index % 64));
                reference.erase(index);
            }
            const std::uint64_t other = random.below(slots);
            differences += hints.test(other) == reference.contains(other) ? 0 : 1;
            // The first leaf from anywhere.
            const std::uint64_t from = random.below(slots) / 64;
            const auto next = reference.lower_bound(from * 64);
            const std::uint64_t leaf = next == reference.end() ? no_index : *next / 64;
            differences += hints.next_leaf(from) == leaf ? 0 : 1;
            differences += hints.next_leaf_surely(from) == leaf ? 0 : 1;
        }
        CHECK(differences == 0);
        CHECK(tree.found() == reference);
        CHECK(hints.next_leaf((slots + 63) / 64) == no_index);
    }
}

TEST_CASE("hints: several bits of a leaf are cleared at once") {
    const Tree tree{10'000};
    HintTree hints = tree.hints();
    for (std::uint64_t i = 6400; i < 6464; ++i) hints.set(i);
    hints.set(9999);
    hints.clear(100, ~std::uint64_t{0} << 1);
    CHECK(tree.found() == std::set<std::uint64_t>{6400, 9999});
    hints.clear(100, 1);
    CHECK(tree.found() == std::set<std::uint64_t>{9999});
}

TEST_CASE("hints: the leaves show every bit whose setter has returned, whoever clears beside it") {
    // Each thread owns some slots of the same leaf: what it has set it must find, or a slot would
    // be lost. And when all are done, the tree shows what the leaves do.
    constexpr std::uint64_t slots = 64 * 64 * 2 + 7;
    constexpr int rounds = 3000;
    const Tree tree{slots};
    std::atomic<int> lost{0};
    std::atomic<int> differences{0};
    std::vector<std::set<std::uint64_t>> left(4);
    std::barrier done{4, [&]() noexcept {
                          std::set<std::uint64_t> all;
                          for (const auto& mine : left) all.insert(mine.begin(), mine.end());
                          if (tree.found() != all) ++differences;
                      }};
    std::vector<std::thread> threads;
    for (std::uint64_t t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            HintTree hints = tree.hints();
            Random random{t + 1};
            for (int step = 0; step < rounds * 100; ++step) {
                const std::uint64_t leaf = random.below(8) == 0 ? 126 : 63;
                const std::uint64_t index = leaf * 64 + t;
                if (random.below(2) == 0) {
                    hints.set(index);
                    left[t].insert(index);
                    if (!hints.test(index) || hints.next_leaf_surely(leaf) != leaf) ++lost;
                } else {
                    hints.clear(leaf, std::uint64_t{1} << (index % 64));
                    left[t].erase(index);
                    if (hints.test(index)) ++lost;
                }
                if (step % 100 == 99) done.arrive_and_wait();
            }
        });
    }
    for (auto& thread : threads) thread.join();
    CHECK(lost == 0);
    CHECK(differences == 0);
}

TEST_CASE("hints: the last bit is cleared while another is set, and the tree finds the other") {
    const Tree tree{64 * 64 * 2};
    HintTree hints = tree.hints();
    constexpr int rounds = 100'000;
    std::atomic<int> turn{0};
    std::atomic<int> cleared{0};
    std::thread clearer{[&] {
        HintTree mine = tree.hints();
        for (int round = 1; round <= rounds; ++round) {
            spin_until([&] { return turn.load() >= round; });
            mine.clear(70, 1);
            cleared.store(round);
        }
    }};
    int lost = 0;
    for (int round = 1; round <= rounds; ++round) {
        hints.set(70 * 64);
        turn.store(round);
        for (int i = round % 16; i > 0; --i) lagoon::detail::cpu_relax();
        hints.set(70 * 64 + 1);
        spin_until([&] { return cleared.load() >= round; });
        lost += hints.next_leaf(0) == 70 ? 0 : 1;
        hints.clear(70, 2);
    }
    clearer.join();
    CHECK(lost == 0);
}
