// keeper_words.hpp: what the keeper and the other threads of its process tell each other.
//
// An event word that the keeper sleeps on, and a hazard pointer: the arena that it watches may be
// dropped by another thread, which waits until the keeper reads it no more.
#pragma once

#include <lagoon/detail/atomic.hpp>
#include <lagoon/detail/wait.hpp>

#include "os.hpp"

namespace lagoon::inline v1::detail {

struct Attachment;

class KeeperWords {
public:
    /// There is something new to look at.
    void poke() noexcept {
        // K1 release RMW -> K2. kept: pokes come one at a time, under the process lock, so torn it
        // would do.
        control_.fetch_add(1, std::memory_order_release);
        os::futex_wake(control_, everybody);
    }
    /// For sleep(): read before what it announces is looked at.
    [[nodiscard]] std::uint32_t look() const noexcept {
        // K2 acquire load <- K1.
        return control_.load(std::memory_order_acquire);
    }
    void sleep(std::uint32_t seen, Deadline until) noexcept {
        (void)os::futex_wait(control_, seen, until);
    }
    /// Until poked, or the other word has changed.
    void sleep_beside(std::uint32_t seen, os::Watched other, Deadline until) noexcept {
        const os::Watched words[] = {{&control_, seen}, other};
        std::size_t which = 0;
        (void)os::futex_wait_any(words, until, &which);
    }

    void begin() noexcept {
        // K8 relaxed store, no pair: no keeper runs, and the new one is created after it.
        ending_.store(0, std::memory_order_relaxed);
        watch(nullptr);
    }
    void end() noexcept {
        // K4 release store -> K3. kept: the poke behind it publishes it; who sees it earlier has
        // nothing else to see.
        ending_.store(1, std::memory_order_release);
        poke();
    }
    [[nodiscard]] bool is_ending() const noexcept {
        // K3 acquire load <- K4. kept: as K4.
        return ending_.load(std::memory_order_acquire) != 0;
    }

    void watch(Attachment* attachment) noexcept {
        // K10 seq_cst store -> K11.
        watched_.store(attachment, std::memory_order_seq_cst);
    }
    [[nodiscard]] Attachment* watched() const noexcept {
        // K11 seq_cst load <- K10.
        return watched_.load(std::memory_order_seq_cst);
    }
    /// By who has ended the watch: the keeper reads for a moment only.
    void await_unread(const Attachment* attachment) const noexcept {
        // K13 seq_cst load, no pair: ordered with K10 and K12.
        while (reading_.load(std::memory_order_seq_cst) == attachment) cpu_relax();
    }

    /// The watched arena, safe to read until done().
    class Reading {
    public:
        explicit Reading(KeeperWords& words) noexcept : words_{words} {
            do {
                arena_ = words_.watched();
                words_.read(arena_);
            } while (words_.watched() != arena_);
        }
        ~Reading() { done(); }
        Reading(const Reading&) = delete;
        Reading& operator=(const Reading&) = delete;
        [[nodiscard]] Attachment* arena() const noexcept { return arena_; }
        void done() const noexcept { words_.read(nullptr); }

    private:
        KeeperWords& words_;
        Attachment* arena_ = nullptr;
    };

private:
    void read(Attachment* attachment) noexcept {
        // K12 seq_cst store, no pair: ordered with K10 and K13: one of the two sides sees the
        // other.
        reading_.store(attachment, std::memory_order_seq_cst);
    }

    Atomic<std::uint32_t> control_{0};  // moves on when there is something new to look at
    Atomic<std::uint32_t> ending_{0};
    Atomic<Attachment*> watched_{nullptr};
    Atomic<Attachment*> reading_{nullptr};  // its mapping must not go just now
};

}  // namespace lagoon::inline v1::detail
