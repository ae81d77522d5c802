from pathlib import Path

import pytest
from astropy.io import fits

from xmm_jax.data.eligibility import examine, stated_band
from xmm_jax.data.wcs import detector_wcs
from xmm_jax.errors import InputError

GOOD = {
    "TELESCOP": "XMM", "INSTRUME": "EPN", "DATAMODE": "IMAGING", "SUBMODE": "PrimeFullWindow",
    "FILTER": "Thin1", "PIMIN": 500, "PIMAX": 2000,
}  # fmt: skip
DETECTOR = {
    "CTYPE1L": "DETX", "CRPIX1L": 1, "CRVAL1L": -18243.5, "CDELT1L": 80.0,
    "CTYPE2L": "DETY", "CRPIX2L": 1, "CRVAL2L": -17487.5, "CDELT2L": 80.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("selection", "band"),
    [
        ("(RAWY > 12) && (FLAG == 0) && (PI in [500:2000]) && (PATTERN in [0:4])", (500, 2000)),
        ("(PI in [200:12000]) && (PI in (500:2000])", (500, 2000)),
        ("PI>=500&&PI<=2000&&PATTERN<=4", (500, 2000)),
        ("(PI > 150) && (500 <= PI) && (PI < 4500.5)", (500, 4500.5)),
        ("#XMMEA_EP && (pi IN [ 2000 , 4500 ])", (2000, 4500)),
        ("(PI > 150) && (PATTERN <= 4)", None),
        ("(PHA in [500:2000]) && (PATTERN in [0:4])", None),
        ("", None),
    ],
)
def test_band_of_a_selection(selection, band):
    assert stated_band(fits.Header({"SLCTEXPR": selection}), "a.fits") == band


@pytest.mark.parametrize(
    ("name", "band"),
    [
        ("0085110101_image_split_500_2000_20ks_2_1.fits.gz", (500, 2000)),
        ("0085110101_image_2000_4500_51.2ks.fits", (2000, 4500)),
        ("0884120101_pn_cleaned_20.0ks_detxy_500_2000.0_80.fits", (500, 2000)),
        ("0201901401_pn_exp1-0.50-2.00keVimg.fits.gz", (500, 2000)),
        ("m31_2019_2020.fits", None),
        ("TNG50_1_z_99_subhalos_448830_m_proj_r_2048_w_400_mult_1_20ks_p_0-4.fits.gz", None),
    ],
)
def test_band_of_a_file_name(name, band):
    assert stated_band(fits.Header(), name) == band


def test_what_the_header_says_outranks_the_name():
    header = fits.Header({"PIMIN": 300, "PIMAX": 7000, "SLCTEXPR": "PI in [500:2000]"})
    assert stated_band(header, "x_image_500_2000_20ks.fits") == (300, 7000)
    del header["PIMAX"]
    assert stated_band(header, "x_image_2000_4500_20ks.fits") == (500, 2000)


@pytest.mark.parametrize(
    ("cards", "words"),
    [
        ({"TELESCOP": "CHANDRA"}, "TELESCOP is CHANDRA"),
        ({"INSTRUME": "EMOS1"}, "INSTRUME is EMOS1, not EPIC-pn"),
        ({"DATAMODE": "TIMING"}, "DATAMODE is TIMING"),
        ({"SUBMODE": "PrimeSmallWindow"}, "SUBMODE is PrimeSmallWindow"),
        ({"FILTER": "Closed"}, "FILTER is Closed"),
        ({"PIMAX": 4500}, "energy band 0.5-4.5 keV"),
        (DETECTOR | {"CRVAL1L": -18163.5}, "first pixel at DETX, DETY"),
        (DETECTOR | {"CDELT1L": 40.0, "CDELT2L": 40.0}, "in steps of 40"),
    ],
)
def test_another_kind_of_image_is_refused_unless_forced(cards, words):
    header = fits.Header(GOOD | DETECTOR | cards)
    path = Path("field.fits")
    with pytest.raises(InputError, match=rf"field\.fits: .*{words}.*--force"):
        examine(header, detector_wcs(header), path, force=False)
    band, notes = examine(header, detector_wcs(header), path, force=True)
    assert band == (0.5, header["PIMAX"] / 1000)
    assert len(notes) == 1
    assert words in notes[0]


@pytest.mark.parametrize(
    "cards", [{}, {"SUBMODE": "PrimeFullWindowExtended"}, {"FILTER": "Medium  "}, {"PIMIN": 501}]
)
def test_fitting_images_pass_without_a_word(cards):
    header = fits.Header(GOOD | DETECTOR | cards)
    assert examine(header, detector_wcs(header), Path("a.fits"), force=False)[1] == ()


def test_silence_is_accepted_and_said():
    band, notes = examine(fits.Header(), None, Path("a.fits"), force=False)
    assert band == (0.5, 2.0)
    assert "INSTRUME, SUBMODE, FILTER, energy band" in notes[0]
