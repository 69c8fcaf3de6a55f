// hints_test.cpp: the trees of hint bits, two and three levels high.
#include <catch2/catch.hpp>

#include "depth.hpp"
#include "pools.hpp"
#include "programs.hpp"

using namespace model;

namespace {

constexpr std::uint64_t slots = 4 * 64 * 64;  // three levels
// Beside bit 0: in its leaf, and where only its own bits above lead, at each of the levels. A
// search looks at the next leaf, and at the next word of a level, in any case.
constexpr std::uint64_t same_leaf = 2;
constexpr std::uint64_t other_leaf = 2 * 64;
constexpr std::uint64_t other_word = 2 * 64 * 64;

struct Tree {
    Word<std::uint64_t> words[256 + 4 + 1];
    detail::HintTree hints() { return {words, slots}; }
};

constexpr std::uint64_t bit(std::uint64_t index) { return std::uint64_t{1} << (index % 64); }

/// Whatever is set at the end can be found by the levels above.
void findable(Tree& tree) {
    detail::HintTree hints = tree.hints();
    for (std::uint64_t leaf = 0; leaf < slots / 64; ++leaf) {
        if (hints.leaf(leaf) == 0) continue;
        std::uint64_t found = hints.next_leaf(0);
        while (found != detail::no_index && found < leaf) found = hints.next_leaf(found + 1);
        require(found == leaf, "a set bit is not found");
    }
}

Program tree(std::string name, std::vector<std::uint64_t> set_before,
             std::vector<std::function<void(Tree&)>> actors, std::vector<std::uint64_t> set_after) {
    Program program =
        small_program<Tree>(std::move(name), std::move(actors), [set_after](Tree& all) {
            for (const std::uint64_t index : set_after) {
                require(all.hints().test(index), "a bit is lost");
            }
            findable(all);
        });
    program.begin = [begin = program.begin, set_before] {
        auto cast = begin();
        auto& all = *static_cast<Tree*>(shared_memory());
        for (const std::uint64_t index : set_before) all.hints().set(index);
        return cast;
    };
    return program;
}

std::function<void(Tree&)> sets(std::uint64_t index) {
    return [=](Tree& all) { all.hints().set(index); };
}
std::function<void(Tree&)> clears(std::uint64_t index) {
    return [=](Tree& all) { all.hints().clear(index / 64, bit(index)); };
}
std::function<void(Tree&)> searches() {
    return [](Tree& all) { (void)all.hints().next_leaf(0); };
}

}  // namespace

TEST_CASE("model: a bit that is set beside one that is cleared is found") {
    for (const std::uint64_t other : {same_leaf, other_leaf, other_word}) {
        const std::string name = "hints." + std::to_string(other);
        look_everywhere(tree(name, {0}, {sets(other), clears(0)}, {other}), 3);
        look_deeply(tree(name, {other}, {sets(other + 1), clears(other)}, {other + 1}), 3, 2);
        look_everywhere(tree(name + ".again", {0}, {sets(other), clears(0), clears(other)}, {}), 2);
        look_everywhere(
            tree(name + ".two", {0}, {sets(other), clears(0), sets(other + 1)}, {other, other + 1}),
            2);
    }
}

TEST_CASE("model: two clear the last bits of a word while a third is set") {
    for (const std::uint64_t other : {same_leaf, other_leaf, other_word}) {
        const std::string name = "hints.clear-both." + std::to_string(other);
        look_everywhere(tree(name, {0, 1}, {sets(other), clears(0), clears(1)}, {other}), 2);
    }
}

TEST_CASE("model: a bit that comes back while its word is tidied away takes no other along") {
    for (const std::uint64_t other : {other_leaf, other_word}) {
        const std::string name = "hints.back." + std::to_string(other);
        look_everywhere(tree(name, {0}, {sets(1), clears(0), sets(other)}, {1, other}), 3);
    }
}

TEST_CASE("model: restoring one bit loses no other") {
    const auto restores = [](Tree& all) { all.hints().restore(1); };
    for (const std::uint64_t other : {same_leaf, other_leaf, other_word}) {
        const std::string name = "hints.restore." + std::to_string(other);
        look_everywhere(tree(name, {}, {restores, sets(other)}, {1, other}), 3);
    }
    const auto restores_beside = [](Tree& all) { all.hints().restore(other_leaf + 1); };
    for (const std::uint64_t cleared : {other_leaf, other_leaf + 64}) {
        const std::string name = "hints.restore.cleared." + std::to_string(cleared);
        const Program program =
            tree(name, {cleared}, {restores_beside, clears(cleared)}, {other_leaf + 1});
        look_everywhere(program, 3);
        look_deeply(program, 3, 2);
    }
}

TEST_CASE("model: a search that tidies up loses no bit") {
    for (const std::uint64_t other : {same_leaf, other_leaf, other_word}) {
        const std::string name = "hints.search." + std::to_string(other);
        look_everywhere(tree(name, {0}, {sets(other), clears(0), searches()}, {other}), 2);
    }
}

TEST_CASE("model: in a pool of several leaves a stale leaf is swept without losing a release") {
    for (const bool light : {true, false}) {
        PoolScene<130> scene{light ? "hints.sweep" : "hints.sweep.exchange",
                             {.light_store = light}};
        scene.arranged([](PoolRoot<130>& root) {
            // Two slots are there, in different leaves; the others are empty.
            std::vector<lagoon::Lease<Resource>> all;
            for (int i = 0; i < 66; ++i) root.pool.add({0, 0});
            for (int i = 0; i < 66; ++i) all.push_back(root.pool.try_acquire());
            for (int i = 0; i < 66; ++i) {
                if (i == 3 || i == 65) {
                    all[static_cast<std::size_t>(i)].give_back();
                } else {
                    all[static_cast<std::size_t>(i)].discard();
                }
            }
        });
        scene.holder("a", 0).borrower("b", 1, 2).sweeper("c", 2);
        look(scene.program(), Under::coherent, 1);
        look(scene.program(), Under::histories, 1);
        look(scene.program(), Under::buffers, 1);
        look(scene.program(), Under::chance, 1);
    }
}

TEST_CASE("model: a release on the fast path is seen by who sweeps its bit away") {
    for (const bool light : {true, false}) {
        PoolScene<130> scene{light ? "hints.swept.fast" : "hints.swept.fast.exchange",
                             {.light_store = light}};
        auto held = std::make_shared<lagoon::Lease<Resource>>();
        scene.actor(
            "a", 0, [held](PoolRoot<130>&) { held->give_back(); },
            [held](PoolRoot<130>& root) {
                root.pool.add({0, 0});
                root.pool.try_acquire().give_back();
                ::new (held.get()) lagoon::Lease<Resource>{root.pool.try_acquire()};
                detail::PoolBody& body = detail::body_of(PoolScene<130>::pool_of(root));
                body.last_freed.store(0, std::memory_order_relaxed);
            });
        scene.sweeper("b", 1);
        look(scene.program(), Under::coherent, 2);
        look(scene.program(), Under::histories, 2);
        look(scene.program(), Under::buffers, 2);
    }
}

TEST_CASE("model: a release the long way sees that its bit was swept, without the kernel's help") {
    for (const bool light : {true, false}) {
        PoolScene<130> scene{light ? "hints.swept" : "hints.swept.exchange",
                             {.light_store = light}};
        auto taken = std::make_shared<detail::Taken>();
        scene.actor(
            "a", 0,
            [taken](PoolRoot<130>& root) {
                auto& pool = PoolScene<130>::pool_of(root);
                detail::pool_give_back(pool, *taken, detail::process_epoch());
            },
            [taken](PoolRoot<130>& root) {
                // Its bit stays set, as after a release on the fast path.
                root.pool.add({0, 0});
                auto& pool = PoolScene<130>::pool_of(root);
                *taken = detail::pool_try_acquire(pool, nullptr);
                detail::PoolBody& body = detail::body_of(pool);
                detail::hints_of(body, detail::Hint::free).set(taken->index);
                body.last_freed.store(0, std::memory_order_relaxed);
            });
        scene.sweeper("b", 1);
        look(scene.program(), Under::coherent, 2);
        look(scene.program(), Under::histories, 2);
        look(scene.program(), Under::buffers, 2);
    }
}

TEST_CASE("model: a bit that a dead one owed is set again, though it was swept before") {
    for (const bool light : {true, false}) {
        PoolScene<66> scene{light ? "hints.owed" : "hints.owed.exchange", {.light_store = light}};
        auto taken = std::make_shared<detail::Taken>();
        scene.sweeper("b", 1);
        scene.actor(
            "a", 0,
            [taken](PoolRoot<66>& root) {
                // Killed between its word and its look at the bit.
                detail::PoolBody& body = detail::body_of(PoolScene<66>::pool_of(root));
                std::uint64_t word = taken->word;
                (void)detail::move_truth(body, taken->index, word,
                                         detail::word::next(word, detail::SlotState::free));
                die();
            },
            [taken](PoolRoot<66>& root) {
                // Its bit stays set, as after a release on the fast path.
                root.pool.add({0, 0});
                auto& pool = PoolScene<66>::pool_of(root);
                *taken = detail::pool_try_acquire(pool, nullptr);
                detail::PoolBody& body = detail::body_of(pool);
                detail::hints_of(body, detail::Hint::free).set(taken->index);
                body.last_freed.store(0, std::memory_order_relaxed);
            });
        scene.thread("c", 2, [](PoolRoot<66>& root) {
            await([] { return is_buried(0); });
            detail::repair_the_dead(*detail::attachment_of(&root));
        });
        look(scene.program(), Under::coherent, 1);
        look(scene.program(), Under::histories, 1);
        look(scene.program(), Under::buffers, 1);
    }
}
