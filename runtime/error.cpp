// error.cpp: the error category, outcomes as text, and broken contracts.
#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ostream>

#include <lagoon/count.hpp>
#include <lagoon/detail/atomic.hpp>
#include <lagoon/error.hpp>
#include <lagoon/outcome.hpp>

namespace lagoon::inline v1 {

namespace {

const char* name_of(Errc code) noexcept {
    switch (code) {
        case Errc::bad_name: return "bad name";
        case Errc::name_taken: return "name taken";
        case Errc::no_such_arena: return "no such arena";
        case Errc::not_permitted: return "not permitted";
        case Errc::not_an_arena: return "not an arena";
        case Errc::version_mismatch: return "version mismatch";
        case Errc::corrupt: return "corrupt";
        case Errc::layout_mismatch: return "layout mismatch";
        case Errc::bad_layout: return "bad layout";
        case Errc::no_space: return "no space";
        case Errc::too_many_processes: return "too many processes";
        case Errc::too_many_objects: return "too many objects";
        case Errc::too_large: return "too large";
        case Errc::out_of_range: return "out of range";
        case Errc::invalid_argument: return "invalid argument";
        case Errc::busy: return "busy";
        case Errc::closed: return "closed";
        case Errc::leases_outstanding: return "leases outstanding";
        case Errc::not_found: return "not found";
        case Errc::not_supported: return "not supported";
        case Errc::spawn_failed: return "spawn failed";
        case Errc::run_if_worker_missing: return "run_if_worker missing";
        case Errc::worker_never_attached: return "worker never attached";
        case Errc::unknown_function: return "unknown function";
        case Errc::task_failed: return "task failed";
        case Errc::system: return "system error";
    }
    return "unknown error";
}

class Category final : public std::error_category {
public:
    constexpr Category() noexcept = default;
    [[nodiscard]] const char* name() const noexcept override { return "lagoon"; }
    [[nodiscard]] std::string message(int code) const override {
        return name_of(static_cast<Errc>(code));
    }
};

void print_contract_failure(const char* message) noexcept {
    char line[1024];
    const int length = std::snprintf(line, sizeof line, "lagoon: broken contract: %s\n", message);
    if (length > 0) {
        const auto bytes = static_cast<std::size_t>(length) < sizeof line
                               ? static_cast<std::size_t>(length)
                               : sizeof line - 1;
        [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line, bytes);
    }
}

constinit detail::Atomic<ContractHandler> contract_handler{&print_contract_failure};

}  // namespace

const std::error_category& error_category() noexcept {
    static const Category category;
    return category;
}

Error::Error(Errc code, const std::string& text, int os_error, std::uint64_t count)
    : std::system_error{make_error_code(code)},
      text_{std::make_shared<const std::string>(text)},
      os_error_{os_error},
      count_{count} {}

Error::~Error() = default;

ContractHandler set_contract_handler(ContractHandler handler) noexcept {
    // H1 acq_rel RMW -> H2: the handler's code was there before. kept: and its data, of which no
    // scene has any; torn, two who set it would be told the same one before.
    return contract_handler.exchange(handler != nullptr ? handler : &print_contract_failure,
                                     std::memory_order_acq_rel);
}

namespace detail {

void contract_failure(const char* format, ...) noexcept {
    char message[900];
    std::va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    // H2 acquire load <- H1. kept: as H1.
    contract_handler.load(std::memory_order_acquire)(message);
    std::abort();
}

void negative_count(std::int64_t found) {
    throw Error{Errc::invalid_argument,
                "an extent, capacity or count of " + std::to_string(found) +
                    " was given to a member or an option; it must be 0 or more"};
}

}  // namespace detail

const char* to_string(Outcome outcome) noexcept {
    switch (outcome) {
        case Outcome::ok: return "ok";
        case Outcome::would_block: return "would_block";
        case Outcome::timed_out: return "timed_out";
        case Outcome::closed: return "closed";
        case Outcome::cancelled: return "cancelled";
        case Outcome::at_capacity: return "at_capacity";
        case Outcome::too_many_waiters: return "too_many_waiters";
        case Outcome::not_attached: return "not_attached";
        case Outcome::given_back: return "given_back";
    }
    return "unknown";
}

const char* to_string(Phase phase) noexcept {
    switch (phase) {
        case Phase::none: return "none";
        case Phase::waiting: return "waiting";
        case Phase::creating: return "creating";
        case Phase::retrying: return "retrying";
        case Phase::checking: return "checking";
        case Phase::resetting: return "resetting";
    }
    return "unknown";
}

std::ostream& operator<<(std::ostream& out, Outcome outcome) { return out << to_string(outcome); }
std::ostream& operator<<(std::ostream& out, Phase phase) { return out << to_string(phase); }

}  // namespace lagoon::inline v1
