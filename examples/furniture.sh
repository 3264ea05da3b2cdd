#!/bin/sh
# The whole pipeline on real models: 24 household objects made by artists, with the usual defects (holes, overlaps).
# The models come from a Debian package: apt-get install sweethome3d-furniture. The steps are those of
# examples/quickstart.sh.
#   sh examples/furniture.sh [FOLDER]
[ -e /usr/share/sweethome3d/furniture/Scopia.sh3f ] || {
    echo "furniture.sh: the models are not installed; run apt-get install sweethome3d-furniture" >&2
    exit 5
}
work=furniture options=''
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

python "$root/examples/furniture.py" --pick -o .
sdfkit manifest raw/ --csv furniture.csv -o manifest.json
sdfkit watertight raw/ --manifest manifest.json -o closed/
sdfkit sample-sdf closed/*.ply -o samples.zarr
sdfkit render closed/*.ply --views 24 | sdfkit embed --model efficientnet-lite0 -o features.zarr
sdfkit train-deepsdf samples.zarr --preset small -o deepsdf.zarr
sdfkit train-dit features.zarr --codes deepsdf.zarr --preset small -o dit.zarr

# Predict each object from four new images, seen from other directions than the 24 training images.
sdfkit render closed/*.ply --views 4 | sdfkit embed --model efficientnet-lite0 |
    sdfkit predict dit.zarr | sdfkit mesh --decoder deepsdf.zarr -o predicted/
sdfkit compare predicted/ closed/ | tee evaluation.txt
python "$root/examples/contact_sheet.py" closed/ predicted/ -o picture.png

echo
echo "Meshes:           $PWD/predicted/"
echo "Image:            $PWD/picture.png (each object beside its prediction)"
echo "Evaluation table: $PWD/evaluation.txt"
echo "Credits:          $PWD/manifest.json (who made each object, and its licence)"
