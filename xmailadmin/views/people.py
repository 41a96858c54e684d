"""The pages of the team, for administrators."""

from __future__ import annotations

from typing import Any

from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.contrib import messages
from django.db import IntegrityError, transaction
from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from xmailadmin import audit, people, sessions
from xmailadmin.access import is_fresh
from xmailadmin.forms import NAME_TAKEN, InviteForm, RolesForm
from xmailadmin.models import AccessLink, User
from xmailadmin.roles import ROLES

__all__ = [
    "person_detail",
    "person_disable",
    "person_enable",
    "person_invite",
    "person_link",
    "person_list",
    "person_roles",
    "person_second_factor",
    "person_sessions",
    "person_single_sign_on",
]

GET_OR_POST = ("GET", "HEAD", "POST")


@require_safe
def person_list(request: HttpRequest) -> HttpResponse:
    """Everybody who has an account, with roles and whether a second factor is set up."""
    context = {"people": _people().prefetch_related("groups"), "confirmed": is_fresh(request)}
    return render(request, "people/person_list.html", context)


def _people() -> QuerySet[User]:
    factors = Authenticator.objects.filter(user=OuterRef("pk")).exclude(
        type=Authenticator.Type.RECOVERY_CODES
    )
    links = AccessLink.objects.filter(user=OuterRef("pk"))
    return User.objects.annotate(
        second_factor=Exists(factors),
        waiting=Exists(links),
        open_sessions=Count("usersession", filter=Q(is_active=True)),
    ).order_by("-is_active", "username")


@require_http_methods(GET_OR_POST)
def person_invite(request: HttpRequest) -> HttpResponse:
    """Makes an account and shows the one-time link to hand over."""
    form = InviteForm(request.POST or None, initial={"roles": ["viewer"]})
    if request.method == "POST" and (token := _invite(request, form)):
        person = User.objects.get(username=form.cleaned_data["username"])
        return _show_link(request, person, token)
    return render(request, "people/person_invite.html", {"form": form, "roles": ROLES.values()})


def _invite(request: HttpRequest, form: InviteForm) -> str:
    """Returns the token of the new account's link, "" if the form says what is wrong."""
    try:
        with people.one_at_a_time():
            if not form.is_valid():
                return ""
            data = form.cleaned_data
            return people.invite(request, data["username"], data["email"], data["roles"])
    except IntegrityError:  # a command has just made an account with this name
        form.add_error("username", str(NAME_TAKEN))
        return ""


def _show_link(request: HttpRequest, person: User, token: str) -> HttpResponse:
    """Shows the link this one time: only its hash is kept."""
    address = people.address_of(token)
    sent = people.send_link(person, address)
    context = {"person": person, "address": address, "sent": sent}
    response = render(request, "people/person_link.html", context)
    response.headers["Cache-Control"] = "no-store"
    return response


@require_safe
def person_detail(request: HttpRequest, pk: int) -> HttpResponse:
    """One person: roles, second factor, sessions, and what was done to and by the account."""
    person = get_object_or_404(_people(), pk=pk)
    context = {
        "person": person,
        "self": person.pk == request.user.pk,
        "factors": Authenticator.objects.filter(user=person).order_by("created_at"),
        "logins": SocialAccount.objects.filter(user=person),
        "sessions": sessions.sessions_of(person),
        "link": AccessLink.objects.filter(user=person).first(),
        "confirmed": is_fresh(request),
    }
    return render(request, "people/person_detail.html", context)


@require_http_methods(GET_OR_POST)
def person_roles(request: HttpRequest, pk: int) -> HttpResponse:
    """Decides what a person may do; administrators cannot take that role from themselves."""
    person = get_object_or_404(User, pk=pk)
    form = RolesForm(request.POST or None, initial={"roles": [role.name for role in person.roles]})
    if request.method == "POST" and form.is_valid():
        names = form.cleaned_data["roles"]
        if person.pk == request.user.pk and "administrator" not in names:
            form.add_error("roles", _("You cannot take this role from yourself."))
        else:
            try:
                people.change_roles(request, person, names)
            except people.LastAdministrator:
                messages.error(request, _nobody_left())
            else:
                messages.success(request, _("The roles are saved. They hold at once."))
            return redirect(person)
    context = {"person": person, "form": form, "roles": ROLES.values()}
    return render(request, "people/person_roles.html", context)


@require_http_methods(GET_OR_POST)
def person_disable(request: HttpRequest, pk: int) -> HttpResponse:
    """Asks first, then shuts the account at once."""
    person = get_object_or_404(User, pk=pk)
    if person.pk == request.user.pk:
        messages.error(request, _("You cannot switch off your own account."))
        return redirect(person)
    if request.method == "POST":
        try:
            people.disable(request, person)
        except people.LastAdministrator:
            messages.error(request, _nobody_left())
            return redirect(person)
        messages.success(
            request, _("%(name)s is switched off, and every session has ended.") % _name(person)
        )
        return redirect(person)
    context = _asking(person, _("Switch off the account"), danger=True)
    return render(request, "people/person_disable.html", context)


@require_http_methods(GET_OR_POST)
def person_enable(request: HttpRequest, pk: int) -> HttpResponse:
    """Asks first, then opens the account again."""
    person = get_object_or_404(User, pk=pk)
    if request.method == "POST":
        people.enable(request, person)
        messages.success(request, _("%(name)s is switched on again.") % _name(person))
        return redirect(person)
    context = _asking(person, _("Switch on the account"))
    return render(request, "people/person_enable.html", context)


@require_http_methods(GET_OR_POST)
def person_link(request: HttpRequest, pk: int) -> HttpResponse:
    """Asks first, then shows a new one-time link for a person who has no password any more."""
    person = get_object_or_404(User, pk=pk, is_active=True)
    if request.method == "POST":
        try:
            token = people.make_link(request, person)
        except User.DoesNotExist:
            raise Http404 from None
        return _show_link(request, person, token)
    context = _asking(person, _("Make a new link"))
    return render(request, "people/person_new_link.html", context)


@require_http_methods(GET_OR_POST)
def person_second_factor(request: HttpRequest, pk: int) -> HttpResponse:
    """Asks first, then removes the second factor of a person who has lost it."""
    person = get_object_or_404(User, pk=pk)
    if request.method == "POST":
        meant = [
            int(pk) for pk in request.POST.getlist("factor") if pk.isdecimal() and len(pk) < 19
        ]
        if people.remove_second_factor(request, person, meant):
            told = _("The second factor of %(name)s is removed, and every session has ended.")
            messages.success(request, told % _name(person))
        else:
            told = _("%(name)s has another second factor by now, or none. Nothing was removed.")
            messages.error(request, told % _name(person))
        return redirect(person)
    context = _asking(person, _("Remove the second factor"), danger=True)
    context["factors"] = people.factors_of(person)
    return render(request, "people/person_second_factor.html", context)


@require_http_methods(GET_OR_POST)
def person_single_sign_on(request: HttpRequest, pk: int) -> HttpResponse:
    """Asks first, then takes away the login by which a person comes in through the provider."""
    person = get_object_or_404(User, pk=pk)
    if request.method == "POST":
        try:
            if people.disconnect(request, person):
                told = _("The login of %(name)s is disconnected, and every session has ended.")
                messages.success(request, told % _name(person))
            else:
                told = _("%(name)s has no such login by now. Nothing was changed.")
                messages.error(request, told % _name(person))
        except people.LastAdministrator:
            messages.error(request, _nobody_left())
        return redirect(person)
    context = _asking(person, _("Disconnect the login"), danger=True)
    return render(request, "people/person_single_sign_on.html", context)


@require_POST
def person_sessions(request: HttpRequest, pk: int) -> HttpResponse:
    """Ends every session of a person, but for the one that asks for it."""
    person = get_object_or_404(User, pk=pk)
    with transaction.atomic():
        ended = sessions.end_all(person, keep=request)
        audit.record(request, "sessions.ended", person, sessions=ended)
    messages.success(request, _("The sessions have ended."))
    return redirect(person)


def _name(person: User) -> dict[str, str]:
    return {"name": person.get_username()}


def _nobody_left() -> str:
    return _("Nothing was changed: nobody would be left who can manage people.")


def _asking(person: User, confirm: str, *, danger: bool = False) -> dict[str, Any]:
    return {
        "person": person,
        "confirm": confirm,
        "danger": danger,
        "cancel_url": person.get_absolute_url(),
    }
