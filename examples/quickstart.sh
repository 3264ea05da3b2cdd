#!/bin/sh
# The whole pipeline on generated data: from messy meshes to meshes predicted from four images.
# Installs sdfkit into a new virtual environment, and takes under ten minutes on two CPU cores. Needs no GPU, no display
# and no access to the Hugging Face hub.
#   sh examples/quickstart.sh [FOLDER]
work=quickstart options=''
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

sdfkit shapes --count 24 --messy --seed 1 -o raw/ && sdfkit manifest raw/ -o manifest.json
sdfkit watertight raw/*.glb --manifest manifest.json -o closed/
sdfkit sample-sdf closed/*.ply -o samples.zarr
# The encoder is EfficientNet-Lite0 (trained on ImageNet), which a Python package contains. Where the Hugging Face hub
# can be reached, leave out --model to use the default, DINOv2.
sdfkit render closed/*.ply --views 24 | sdfkit embed --model efficientnet-lite0 -o features.zarr
sdfkit train-deepsdf samples.zarr --preset small -o deepsdf.zarr
sdfkit train-dit features.zarr --codes deepsdf.zarr --preset small -o dit.zarr

# Predict one shape from four new images, seen from other directions than the 24 training images, in one pipe.
sdfkit render closed/obj_0003.ply --views 4 | sdfkit embed --model efficientnet-lite0 |
    sdfkit predict dit.zarr | sdfkit mesh --decoder deepsdf.zarr >predicted.ply
sdfkit compare predicted.ply closed/obj_0003.ply | tee evaluation.txt
# The same for all shapes.
sdfkit render closed/*.ply --views 4 | sdfkit embed --model efficientnet-lite0 |
    sdfkit predict dit.zarr | sdfkit mesh --decoder deepsdf.zarr -o predicted/
sdfkit compare predicted/ closed/ | tee -a evaluation.txt
python "$root/examples/contact_sheet.py" closed/ predicted/ -o picture.png

echo
echo "Meshes:           $PWD/predicted.ply and $PWD/predicted/"
echo "Image:            $PWD/picture.png (each shape beside its prediction)"
echo "Evaluation table: $PWD/evaluation.txt"
